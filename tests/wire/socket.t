# The handshake, and frames that belong to no run.

test a worker with a good token is let in
	connect -> 101
	> [null,"1","phoenix","heartbeat",{}]
	< [null,"1","phoenix","phx_reply",{"status":"ok","response":{}}]

test a token signed with another secret is refused at the handshake
	token forged {"secret":"another"}
	connect token=${forged} -> 401

test a token that says none is refused
	token none {"header":{"alg":"none","typ":"JWT"}}
	connect token=${none} -> 401

test no token is refused
	connect -token -> 401

test another serializer is refused with 400
	connect vsn=1.0.0 -> 400

test an unknown query parameter is ignored
	connect flavour=vanilla -> 101
	< quiet

test a message for a topic that is not joined
	> ["9","9","run:${run}","run:start",{}]
	< ["9","9","run:${run}","phx_reply",{"status":"error","response":{"reason":"unmatched topic",...}}]

test what is not JSON closes the socket
	> nonsense
	< close 1007

test leaving the queue is answered and followed by phx_close
	do listening
	> ["1","2","worker:queue","phx_leave",{}]
	< ["1","2","worker:queue","phx_reply",{"status":"ok","response":{}}]
	< ["1","1","worker:queue","phx_close",{}]
	< quiet
