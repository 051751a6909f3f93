// Tokens: a worker's and a run's, valid ones and forged ones.

import { createHmac, createPrivateKey, createPublicKey, generateKeyPairSync, sign, verify } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { readSecret, workerClaims } from '../client/lib.mjs';

const { INTERLOCK_CONF, WORKER_SECRET_FILE } = process.env;

const hmac = (secret) => (text) => createHmac('sha256', secret).update(text).digest('base64url');
const ed25519 = (key) => (text) => sign(null, text, key).toString('base64url');
const rsa = (key) => (text) => sign('sha256', text, key).toString('base64url');
const runKey = () =>
	readFileSync(readFileSync(INTERLOCK_CONF, 'utf8').match(/^run_token_key *= *(.+)$/m)[1]);
const publicKey = () => createPublicKey(runKey());

// By what a token is signed: [the algorithm that its header names, how].
const SIGNERS = {
	'the secret': () => ['HS256', hmac(readSecret(WORKER_SECRET_FILE))],
	'another secret': () => ['HS256', hmac('another')],
	'the public key': () => ['HS256', hmac(publicKey().export({ type: 'spki', format: 'pem' }))],
	'the run key': () => ['EdDSA', ed25519(createPrivateKey(runKey()))],
	'another key': () => ['EdDSA', ed25519(generateKeyPairSync('ed25519').privateKey)],
	'a key of another kind': () => [
		'RS256',
		rsa(generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey),
	],
	unsigned: () => ['none', () => ''],
};

const encode = (value) => Buffer.from(JSON.stringify(value)).toString('base64url');
const payload = (token) => JSON.parse(Buffer.from(token.split('.')[1], 'base64url'));

// A worker's token or, if one is given, the token of a run, with these claims changed (null: left
// out), this algorithm named, signed by that.
export const forge = ({ claims, alg, by }, token) => {
	const [named, signed] = SIGNERS[by ?? (token ? 'the run key' : 'the secret')]();
	const all = { ...(token ? payload(token) : workerClaims()), ...claims };
	const kept = Object.fromEntries(Object.entries(all).filter(([, value]) => value !== null));
	const text = `${encode({ alg: alg ?? named, typ: 'JWT' })}.${encode(kept)}`;
	return `${text}.${signed(text)}`;
};

// The claims of a run's token, if the run key signed it.
export const claimsOf = (token) => {
	const [header, claims, signature] = token.split('.');
	if (!verify(null, `${header}.${claims}`, publicKey(), Buffer.from(signature, 'base64url')))
		throw new Error('not ours');
	return { ...payload(token), header: JSON.parse(Buffer.from(header, 'base64url')) };
};
