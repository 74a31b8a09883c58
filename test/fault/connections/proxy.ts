// Toxiproxy: a proxy in front of a port, and what it can do to the connections through it.
export interface Toxic {
  readonly type: 'latency' | 'reset_peer' | 'limit_data' | 'slow_close' | 'bandwidth';
  readonly attributes: Readonly<Record<string, number>>;
}

export interface Proxy {
  /** Host and port that it shows. */
  readonly address: string;
  /** Does this to all connections, in both directions, those that are open too. */
  poison(toxic: Toxic): Promise<void>;
  heal(): Promise<void>;
  /** Bytes that came to it on connections that have ended; `heal` ends them. */
  bytes(): Promise<number>;
  remove(): Promise<void>;
}

async function ask(method: string, url: string, body?: object): Promise<unknown> {
  const response = await fetch(url, { method, ...(body === undefined ? {} : { body: JSON.stringify(body) }) });
  const text = await response.text();
  if (!response.ok) throw new Error(`Toxiproxy: ${method} ${new URL(url).pathname}: ${response.status} ${text}`);
  return text === '' ? undefined : JSON.parse(text);
}

/** A proxy that is there already, by its name. */
export function proxyNamed(api: string, name: string, address: string): Proxy {
  const toxics = `${api}/proxies/${name}/toxics`;
  return {
    address,
    poison: async ({ type, attributes }) => {
      for (const stream of ['upstream', 'downstream']) await ask('POST', toxics, { name: stream, type, stream, toxicity: 1, attributes });
    },
    // Closes the connections too: nothing of the fault goes on in them.
    heal: async () => {
      await ask('POST', `${api}/proxies/${name}`, { enabled: false });
      for (const stream of ['upstream', 'downstream']) await ask('DELETE', `${toxics}/${stream}`);
      await ask('POST', `${api}/proxies/${name}`, { enabled: true });
    },
    bytes: async () => {
      const lines = (await (await fetch(`${api}/metrics`)).text()).split('\n');
      const ours = lines.filter((line) => line.startsWith('toxiproxy_proxy_received_bytes_total{') && line.includes(`proxy="${name}"`));
      return ours.reduce((sum, line) => sum + Number(line.slice(line.lastIndexOf(' '))), 0);
    },
    remove: async () => {
      await ask('DELETE', `${api}/proxies/${name}`);
    },
  };
}

export async function addProxy(api: string, name: string, upstream: string): Promise<Proxy> {
  const made = await ask('POST', `${api}/proxies`, { name, listen: '127.0.0.1:0', upstream, enabled: true });
  if (typeof made !== 'object' || made === null || !('listen' in made) || typeof made.listen !== 'string')
    throw new Error('Toxiproxy does not say where its proxy listens');
  return proxyNamed(api, name, made.listen);
}
