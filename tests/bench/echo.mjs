// What the socket layer is measured against: the least that a server on `ws` can do with a message.
import { WebSocketServer } from '../client/node_modules/ws/wrapper.mjs';

const server = new WebSocketServer({ host: '127.0.0.1', port: 0, perMessageDeflate: false });
server.on('connection', (socket) => socket.on('message', (data) => socket.send(data, { binary: false })));
server.on('listening', () => console.log(`listening on 127.0.0.1:${server.address().port}`));
