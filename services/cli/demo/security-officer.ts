// The demo's simulated security officer: looks at what is held for text in its pixels and refuses it, by the same
// steps as `ctstream held`. Never called anything but simulated, and releases nothing.
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { personOf, readPeopleFile, readTokenFile, type Person } from '../../runtime/people-file.ts';
import { localAccess } from '../deployment.ts';
import { decideHeld, HeldError, heldPorts, showHeld, type HeldPorts } from '../held.ts';
import type { Running } from './deploy.ts';

export interface SecurityOfficer {
  /** False once it stopped: then what is held waits for a person. */
  isWorking(): boolean;
  /** What it did, a line a study. */
  done(): readonly string[];
  stop(): Promise<void>;
}

const LOOK_EVERY_MS = 2000;

export function startSecurityOfficer(running: Running, note: (line: string) => void, signal: AbortSignal): SecurityOfficer {
  const stop = new AbortController();
  const both = AbortSignal.any([stop.signal, signal]);
  let isWorking = true;
  const lines: string[] = [];
  const tell = (line: string): void => {
    lines.push(line);
    note(line);
  };
  const working = work(running, tell, both)
    .catch((error: unknown) => {
      if (!both.aborted)
        process.stderr.write(`the simulated security officer stopped: ${error instanceof Error ? error.message : String(error)}\n`);
    })
    .finally(() => {
      isWorking = false;
    });
  return {
    isWorking: () => isWorking,
    done: () => lines,
    async stop() {
      stop.abort();
      await working;
    },
  };
}

async function work({ platform, provisioned }: Running, note: (line: string) => void, signal: AbortSignal): Promise<void> {
  const login = provisioned.people.find(({ roles }) => roles.includes('security'));
  if (login === undefined) throw new Error('this deployment has nobody with the security role');
  const person = personOf(readPeopleFile(provisioned.file('people.json')), readTokenFile(login.tokenFile), 'security');
  const ports = await heldPorts(localAccess(platform, provisioned));
  try {
    for (;;) {
      for (const study of await ports.review.list()) {
        if (study.code !== 'HELD_BURNED_IN_TEXT' || study.decision !== undefined) continue;
        const line = await lookAndRefuse(ports, study.heldId, person, signal);
        if (line !== undefined) note(line);
      }
      await sleep(LOOK_EVERY_MS, undefined, { signal });
    }
  } finally {
    await ports.close();
  }
}

/** What it did, in a line; undefined when the study is not parked yet. */
async function lookAndRefuse(ports: HeldPorts, heldId: string, person: Person, signal: AbortSignal): Promise<string | undefined> {
  const folder = await mkdtemp(join(tmpdir(), 'ctstream-look-'));
  try {
    const { study, note } = await showHeld(ports, heldId, person, folder);
    await decideHeld(ports, { heldId, kind: 'refused', reason: 'text in the pixels (simulated decision)', person }, signal);
    const where = note.pictures[0] === undefined ? 'no picture' : `picture in ct-quarantine/${note.pictures[0].object}`;
    return `${person.name}: ${heldId} of ${study.centre} has text in its pixels (${where}); refused`;
  } catch (error) {
    if (error instanceof HeldError && (error.code === 'NOTHING_PARKED' || error.code === 'FINDINGS_CHANGED')) return undefined;
    throw error;
  } finally {
    // The pictures may show who it is.
    await rm(folder, { recursive: true, force: true });
  }
}
