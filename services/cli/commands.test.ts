import { expect, test } from '@jest/globals';
import { Command } from 'commander';
import { COMMANDS } from './commands.ts';

test.each(COMMANDS.map((group) => [group.names.join(', '), group] as const))('%s: the table names what the file has', async (_, group) => {
  const program = new Command();
  await group.load(program);
  expect(program.commands.map((command) => command.name())).toEqual(group.names);
});
