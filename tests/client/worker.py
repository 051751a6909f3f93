#!/usr/bin/python3
"""A worker: claims runs, "executes" each job by handing on its input, and
reports what it did.

    worker.py [--runs N] [--queue NAME] ws://HOST:PORT/worker SECRET_FILE

Invariant: an event is asked with the same payload until it is answered, over
as many connections as that takes. The coordinator recognises a repetition.
"""
import argparse, asyncio, base64, hashlib, hmac, json, time, urllib.parse, uuid
import websockets


def worker_token(secret):
    def part(data):
        return base64.urlsafe_b64encode(data).rstrip(b"=")
    claims = {"iss": "urn:openfn:worker", "iat": int(time.time()),
              "worker_id": str(uuid.uuid4())}
    parts = {"alg": "HS256", "typ": "JWT"}, claims
    body = b".".join(part(json.dumps(each).encode()) for each in parts)
    return body + b"." + part(hmac.digest(secret, body, hashlib.sha256))


def now():
    return {"timestamp": str(time.time_ns() // 1000)}


class Abandoned(Exception):
    """The run is another worker's by now, or nobody's."""


class Worker:
    def __init__(self, url, secret, queues, runs):
        self.url = f"{url}/websocket?" + urllib.parse.urlencode(
            {"vsn": "2.0.0", "token": worker_token(secret)})
        self.queues, self.left = queues, runs
        self.ref = 0            # goes on counting over reconnects
        self.open = {}          # ref: the future of its reply
        self.join_refs = {}     # topic: the ref of its join
        self.tokens = {}        # topic: the token of a run that we hold
        self.ready = asyncio.Event()    # connected, every topic joined
        self.work = asyncio.Event()     # work-available

    async def send(self, topic, event, payload):
        self.ref += 1
        if event == "phx_join":
            self.join_refs[topic] = str(self.ref)
        reply = asyncio.get_running_loop().create_future()
        ref = str(self.ref)
        self.open[ref] = reply
        try:
            await self.ws.send(json.dumps(
                [self.join_refs.get(topic), ref, topic, event, payload]))
            return await asyncio.wait_for(reply, 30)
        finally:
            del self.open[ref]

    async def ask(self, topic, event, payload):
        while True:
            await self.ready.wait()
            try:
                reply = await self.send(topic, event, payload)
                break
            except asyncio.TimeoutError:
                await self.ws.close()
            except (OSError, websockets.ConnectionClosed):
                self.ready.clear()
        if reply["status"] == "error":
            print(topic, event, reply["response"], flush=True)
            if event == "phx_join" or reply["response"].get("code") in (
                    "superseded", "unmatched_topic"):
                raise Abandoned
        return reply["response"]

    async def read(self):
        async for message in self.ws:
            if isinstance(message, str):
                _, ref, topic, event, payload = json.loads(message)
            else:       # a binary reply: 1, four sizes, four strings, the body
                at, end = 5 + message[1], 5 + sum(message[1:5])
                ref = message[at:at + message[2]].decode()
                event, payload = "phx_reply", {
                    "status": "ok", "response": json.loads(message[end:])}
            if event == "work-available":
                self.work.set()
            elif event == "phx_error":
                return          # and everything is joined again
            elif event == "phx_reply" and ref in self.open:
                self.open[ref].set_result(payload)

    async def session(self):
        await self.send("worker:queue", "phx_join", {"capacity": 1})
        for topic, token in list(self.tokens.items()):
            await self.send(topic, "phx_join", {"token": token})
        self.ready.set()
        while True:
            await asyncio.sleep(30)
            await self.send("phoenix", "heartbeat", {})

    async def stay_connected(self):
        while self.left != 0:
            try:
                async with websockets.connect(self.url, max_size=None) as ws:
                    self.ws = ws
                    both = [asyncio.ensure_future(self.read()),
                            asyncio.ensure_future(self.session())]
                    await asyncio.wait(both, return_when="FIRST_COMPLETED")
                    for task in both:
                        task.cancel()
                    await asyncio.gather(*both, return_exceptions=True)
            except websockets.InvalidStatusCode as refusal:
                if refusal.status_code != 503:
                    raise       # the token or the address is wrong
            except (OSError, websockets.WebSocketException) as error:
                print("not connected:", error, flush=True)
            self.ready.clear()
            for reply in self.open.values():
                if not reply.done():
                    reply.set_exception(ConnectionError())
            await asyncio.sleep(1)

    async def execute(self, run):
        topic = "run:" + run["id"]
        self.tokens[topic] = run["token"]
        try:
            await self.ask(topic, "phx_join", {"token": run["token"]})
            plan = await self.ask(topic, "fetch:plan", {})
            clip = plan.get("dataclip_id")
            state = await self.ask(topic, "fetch:dataclip", {"id": clip})
            await self.ask(topic, "run:start", now())
            for job in plan["jobs"]:
                step = {"step_id": str(uuid.uuid4()), "job_id": job["id"]}
                await self.ask(topic, "step:start", {
                    **step, **now(), "input_dataclip_id": clip})
                await self.ask(topic, "run:log", {
                    **now(), "step_id": step["step_id"], "level": "info",
                    "source": "JOB", "message": ["played", job["name"]]})
                clip = str(uuid.uuid4())
                await self.ask(topic, "step:complete", {
                    **step, **now(), "reason": "success",
                    "output_dataclip_id": clip,
                    "output_dataclip": json.dumps(state)})
            await self.ask(topic, "run:complete", {
                **now(), "reason": "success", "final_dataclip_id": clip})
            await self.ask(topic, "phx_leave", {})
        except Abandoned:
            print(topic, "abandoned", flush=True)
        del self.tokens[topic]

    async def claim_runs(self):
        while self.left != 0:
            self.work.clear()
            answer = await self.ask("worker:queue", "claim", {
                "demand": 1, "queues": self.queues})
            for run in answer["runs"]:
                await self.execute(run)
                self.left -= 1
            if not answer["runs"]:      # until we are told, or for a while
                woken = asyncio.ensure_future(self.work.wait())
                await asyncio.wait([woken], timeout=10)
                woken.cancel()
        await self.ws.close()

    async def main(self):
        await asyncio.gather(self.stay_connected(), self.claim_runs())


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="An example of a worker.")
    parser.add_argument("--runs", type=int, default=-1)
    parser.add_argument("--queue", default="*")
    parser.add_argument("url")
    parser.add_argument("secret_file")
    args = parser.parse_args()
    with open(args.secret_file, "rb") as file:
        key = file.read().rstrip(b"\r\n")
    asyncio.run(Worker(args.url, key, [args.queue], args.runs).main())
