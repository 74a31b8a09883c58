// Only a caller on this machine, and with the token, may change something.
import { expect, test } from '@jest/globals';
import { mayChange } from './bearer.ts';

const TOKEN = 'a-token-of-16-or-more';

test.each([
  ['the token, from this machine', '127.0.0.1', `Bearer ${TOKEN}`, TOKEN, true],
  ['the token, from IPv6 loopback', '::1', `Bearer ${TOKEN}`, TOKEN, true],
  ['the token, from elsewhere', '192.0.2.1', `Bearer ${TOKEN}`, TOKEN, false],
  ['no header', '127.0.0.1', undefined, TOKEN, false],
  ['another token', '127.0.0.1', `Bearer ${TOKEN}x`, TOKEN, false],
  ['another scheme', '127.0.0.1', `Basic ${TOKEN}`, TOKEN, false],
  ['no token configured, from this machine', '127.0.0.1', undefined, undefined, false],
  ['no token configured, from elsewhere', '192.0.2.1', undefined, undefined, false],
])('%s', (_, ip, authorization, token, expected) => {
  expect(mayChange({ ip, authorization }, token)).toBe(expected);
});
