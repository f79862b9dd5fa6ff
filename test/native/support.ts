// SPDX-License-Identifier: Apache-2.0
// Agents and executors for tests of the addon: python3 plays the agent, because Node has neither
// SOCK_SEQPACKET nor SCM_RIGHTS.
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { type ExecutorEvent, Executor } from '../../src/native/native.ts';

export const CLIENT_ID = '00112233445566778899aabbccddeeff';
export const TOKEN = 'ffeeddccbbaa99887766554433221100';

/** How an image is written and read where nothing about it is of interest. */
export const plainImage = {
  parent: null,
  lanes: 2,
  compress: 0,
  content: false,
  share: false,
  donors: [],
  key: null,
} as const;

export function makeFolder(): { readonly path: string; readonly dispose: () => void } {
  const path = mkdtempSync(join(tmpdir(), 'phos-native-'));
  mkdirSync(join(path, 'executors'));
  return { path, dispose: () => rmSync(path, { recursive: true, force: true }) };
}

export interface TestExecutor {
  readonly executor: Executor;
  readonly events: ExecutorEvent[];
  readonly ringSocketPath: string;
  /** Resolves with the first event of that type, those told already included. */
  event(type: ExecutorEvent['type']): Promise<ExecutorEvent>;
}

export function makeExecutor(folder: string, id = 'a'): TestExecutor {
  const events: ExecutorEvent[] = [];
  const waiting: (() => void)[] = [];
  const ringSocketPath = join(folder, 'executors', `${id}.ring.sock`);
  const executor = new Executor(
    {
      driver: 'sim',
      ordinal: 0,
      runtimeDir: folder,
      id,
      ringSocketPath,
      memoryLimitBytes: 0n,
    },
    (event) => {
      events.push(event);
      for (const wake of waiting.splice(0)) wake();
    },
  );
  const event = async (type: ExecutorEvent['type']): Promise<ExecutorEvent> => {
    for (;;) {
      const found = events.find((told) => told.type === type);
      if (found !== undefined) return found;
      await new Promise<void>((resolve) => waiting.push(resolve));
    }
  };
  return { executor, events, ringSocketPath, event };
}

/** An agent in python: what it prints comes back line by line. */
export class Agent {
  readonly process: ChildProcess;
  readonly #lines: string[] = [];
  #wake: () => void = () => undefined;
  #ended = false;

  constructor(script: string, args: readonly string[]) {
    this.process = spawn('python3', ['-u', '-c', PREAMBLE + script, ...args], {
      stdio: ['pipe', 'pipe', 'inherit'],
    });
    const { stdout } = this.process;
    if (stdout === null) throw new Error('python3 has no standard output');
    createInterface(stdout).on('line', (line) => {
      this.#lines.push(line);
      this.#wake();
    });
    // Not 'exit': what it printed last may still be on its way then.
    this.process.on('close', () => {
      this.#ended = true;
      this.#wake();
    });
  }

  /** The next line it prints. */
  async line(): Promise<string> {
    while (this.#lines.length === 0) {
      if (this.#ended) throw new Error('the agent ended');
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
    return this.#lines.shift() ?? '';
  }

  say(text: string): void {
    this.process.stdin?.write(`${text}\n`);
  }

  end(): void {
    this.process.kill('SIGKILL');
  }
}

// wire.h and ring_layout.h, as far as an agent needs them.
const PREAMBLE = `
import array, ctypes, fcntl, mmap, os, socket, struct, sys
MAGIC, VERSION = 0x31534850, 1
HELLO, WELCOME, REFUSED, HANDOVER, READY, ARENA, ACK, DISCONNECT = 1, 2, 3, 4, 5, 6, 7, 8
RING = 4096 + 512 * 4096 + (4 << 20)
F_ADD_SEALS, SEALS = 1033, 0x0003
def message(kind, body, serial=1):
    return struct.pack('<IHHII', MAGIC, VERSION, kind, 16 + len(body), serial) + body
def connect(path):
    s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    s.settimeout(20)
    s.connect(path)
    return s
def send(s, data, fd=None):
    extra = [] if fd is None else [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array('i', [fd]))]
    s.sendmsg([data], extra)
def receive(s):
    # A peer that closes with something unread resets the connection; that comes once, and before
    # what it has sent.
    try:
        return s.recv(65536)
    except ConnectionResetError:
        return s.recv(65536)
def kind(data):
    return struct.unpack_from('<IHHII', data)[2] if len(data) >= 16 else 0
def memfd(size, seals=SEALS):
    fd = os.memfd_create('test', os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    os.ftruncate(fd, size)
    if seals:
        fcntl.fcntl(fd, F_ADD_SEALS, seals)
    return fd
def make_ring(client_id, seals=SEALS, version=1):
    fd = memfd(RING, seals)
    m = mmap.mmap(fd, RING)
    m[0:32] = struct.pack('<8I', 0x474E5250, version, 4096, 512, 4096, 4096 + 512 * 4096, 4 << 20,
                          os.getpid())
    m[32:48] = bytes.fromhex(client_id)
    return fd, m
def hand_over(s, client_id, token, fd, size=RING, reattach=0, arenas=0):
    body = bytes.fromhex(client_id) + bytes.fromhex(token)
    send(s, message(HANDOVER, body + struct.pack('<QII', size, reattach, arenas)), fd)
def call(m, op, payload, slot=0, sequence=1):
    head = struct.unpack_from('<Q', m, 64)[0]
    size = (32 + len(payload) + 31) // 32 * 32
    at = 4096 + 512 * 4096 + head % (4 << 20)
    m[at:at + 32] = struct.pack('<IHHIIQQ', size, op, 1, slot, sequence, 0, 0)
    m[at + 32:at + 32 + len(payload)] = payload
    m[64:72] = struct.pack('<Q', head + size)
`;
