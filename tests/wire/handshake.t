# The handshake: who is let onto the socket.

test a worker with a good token is let in
	connect -> 101
	> [null,"1","phoenix","heartbeat",{}]
	< [null,"1","phoenix","phx_reply",{"status":"ok","response":{}}]

test a token is refused: ${why}
	each why | what
	= signed with another secret | {"by":"another secret"}
	= unsigned, alg none | {"by":"unsigned"}
	= signed well, alg none | {"alg":"none"}
	= another HMAC is named | {"alg":"HS512"}
	= a public-key algorithm is named | {"alg":"RS256"}
	= signed with the key of runs | {"by":"the run key"}
	= no worker_id | {"claims":{"worker_id":null}}
	= worker_id is empty | {"claims":{"worker_id":""}}
	= worker_id is too long | {"claims":{"worker_id":"${x*256}"}}
	= worker_id is a number | {"claims":{"worker_id":7}}
	= no iat | {"claims":{"iat":null}}
	= iat is a string | {"claims":{"iat":"1795485247"}}
	= no issuer | {"claims":{"iss":null}}
	= another issuer | {"claims":{"iss":"Lightning"}}
	= exp is past | {"claims":{"exp":1700000000}}
	= exp is a string | {"claims":{"exp":"4102444800"}}
	= exp is true | {"claims":{"exp":true}}
	= nbf is ahead | {"claims":{"nbf":4102444800}}
	= nbf is a string | {"claims":{"nbf":"1700000000"}}
	token x ${what}
	connect token=${x} -> 401

test a token is fine: ${why}
	each why | what
	= exp is ahead | {"claims":{"exp":4102444800}}
	= nbf is past | {"claims":{"nbf":1700000000}}
	= worker_id is long | {"claims":{"worker_id":"${x*255}"}}
	= more claims than we know | {"claims":{"role":"admin","sub":"x"}}
	token x ${what}
	connect token=${x} -> 101
	< quiet

test what is no token: ${what}
	each what
	= -token
	= token=
	= token=abc
	= token=a.b.c
	= token=..
	= token=${x*5000}
	connect ${what} -> 401

test the token of a run opens no socket
	do claimed
	connect B token=${token} -> 401

test another serializer: ${what}
	each what
	= vsn=1.0.0
	= vsn=3.0.0
	= vsn=
	= vsn=two
	= -vsn
	connect ${what} -> 400

test serializer 2 of any kind
	connect vsn=2.1.0 -> 101
	< quiet

test unknown query parameters are ignored
	connect flavour=vanilla worker_version=99 -api_version -> 101
	< quiet

test workers connect to /worker/websocket
	connect /nowhere -> 404
	connect /workers -> 404
	http GET /worker/websocket -> 404
