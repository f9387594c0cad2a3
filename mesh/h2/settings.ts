// SETTINGS of both sides (RFC 9113 section 6.5): what we announce, what the peer announced, and the payload format.

import { H2Error } from './error.ts';
import {
  DEFAULT_WINDOW,
  MAX_MAX_FRAME_SIZE,
  MAX_UINT31,
  MIN_MAX_FRAME_SIZE,
  readUint32,
  writeUint32,
} from './frame.ts';

const SettingId = {
  HEADER_TABLE_SIZE: 1,
  ENABLE_PUSH: 2,
  MAX_CONCURRENT_STREAMS: 3,
  INITIAL_WINDOW_SIZE: 4,
  MAX_FRAME_SIZE: 5,
  MAX_HEADER_LIST_SIZE: 6,
  ENABLE_CONNECT_PROTOCOL: 8,
} as const;

const SETTING_BYTES = 6;

/** What this side announces. */
export interface LocalSettings {
  /** Receive window of each stream in octets, 0 to 2^31-1. */
  readonly initialWindowSize: number;
  /** Largest payload accepted in one frame, 16384 to 16777215 octets. DATA is streamed on, so a large value costs no memory. */
  readonly maxFrameSize: number;
  /** Streams the peer may have open at once. A client has no use for it (push is off) and does not send it. */
  readonly maxConcurrentStreams: number;
  /** Largest header list accepted, in octets as RFC 9113 section 6.5.2 counts them. */
  readonly maxHeaderListSize: number;
  /** HPACK table the peer may use towards us, default 4096 octets. */
  readonly headerTableSize?: number;
  /** Server only: extended CONNECT (RFC 8441). Default false. */
  readonly enableConnectProtocol?: boolean;
}

/** What the peer announced; 2^31-1 stands for "no limit" and for anything above it. */
export interface RemoteSettings {
  readonly received: boolean;
  readonly headerTableSize: number;
  readonly maxConcurrentStreams: number;
  readonly initialWindowSize: number;
  readonly maxFrameSize: number;
  readonly maxHeaderListSize: number;
  readonly enableConnectProtocol: boolean;
}

/** The values that hold until the peer's first SETTINGS. */
export function initialRemoteSettings(): RemoteSettings {
  return {
    received: false,
    headerTableSize: 4096,
    maxConcurrentStreams: MAX_UINT31,
    initialWindowSize: DEFAULT_WINDOW,
    maxFrameSize: MIN_MAX_FRAME_SIZE,
    maxHeaderListSize: MAX_UINT31,
    enableConnectProtocol: false,
  };
}

/** Throws H2Error INTERNAL_ERROR for values outside their range: a mistake in the configuration, found at once. */
export function checkLocalSettings(settings: LocalSettings): void {
  const { initialWindowSize, maxFrameSize, maxConcurrentStreams, maxHeaderListSize, headerTableSize } =
    settings;
  requireRange('initialWindowSize', initialWindowSize, [0, MAX_UINT31]);
  requireRange('maxFrameSize', maxFrameSize, [MIN_MAX_FRAME_SIZE, MAX_MAX_FRAME_SIZE]);
  requireRange('maxConcurrentStreams', maxConcurrentStreams, [0, MAX_UINT31]);
  requireRange('maxHeaderListSize', maxHeaderListSize, [256, 1 << 24]);
  requireRange('headerTableSize', headerTableSize ?? 4096, [0, 1 << 20]);
}

function requireRange(name: string, value: number, range: readonly [number, number]): void {
  if (Number.isInteger(value) && value >= range[0] && value <= range[1]) return;
  throw new H2Error(
    'INTERNAL_ERROR',
    `Starting an HTTP/2 session: ${name} "${value}" is not within ${range[0]} to ${range[1]}`,
  );
}

/** Writes our SETTINGS payload at `at`, values that equal the default left out; returns the position after it. */
export function writeSettings(
  settings: LocalSettings,
  role: 'client' | 'server',
  target: { readonly bytes: Buffer; readonly at: number },
): number {
  const { bytes } = target;
  let { at } = target;
  const put = (id: number, value: number): void => {
    bytes[at] = id >>> 8;
    bytes[at + 1] = id;
    writeUint32(bytes, at + 2, value);
    at += SETTING_BYTES;
  };
  const tableSize = settings.headerTableSize ?? 4096;
  if (tableSize !== 4096) put(SettingId.HEADER_TABLE_SIZE, tableSize);
  if (role === 'client') put(SettingId.ENABLE_PUSH, 0);
  else put(SettingId.MAX_CONCURRENT_STREAMS, settings.maxConcurrentStreams);
  put(SettingId.INITIAL_WINDOW_SIZE, settings.initialWindowSize);
  put(SettingId.MAX_FRAME_SIZE, settings.maxFrameSize);
  put(SettingId.MAX_HEADER_LIST_SIZE, settings.maxHeaderListSize);
  if (role === 'server' && settings.enableConnectProtocol === true) put(SettingId.ENABLE_CONNECT_PROTOCOL, 1);
  return at;
}

/** Applies a SETTINGS payload in order and returns the new state. Throws the connection error RFC 9113 section 6.5.2 names. */
export function applySettings(
  current: RemoteSettings,
  payload: { readonly bytes: Buffer; readonly start: number; readonly end: number },
  ownRole: 'client' | 'server',
): RemoteSettings {
  const next = { ...current, received: true };
  for (let at = payload.start; at + SETTING_BYTES <= payload.end; at += SETTING_BYTES) {
    const id = ((payload.bytes[at] as number) << 8) | (payload.bytes[at + 1] as number);
    applyOne(next, { id, value: readUint32(payload.bytes, at + 2), ownRole });
  }
  return next;
}

type Mutable<T> = { -readonly [K in keyof T]: T[K] };

function applyOne(
  next: Mutable<RemoteSettings>,
  setting: { readonly id: number; readonly value: number; readonly ownRole: 'client' | 'server' },
): void {
  const { id, value } = setting;
  const capped = Math.min(value, MAX_UINT31);
  switch (id) {
    case SettingId.HEADER_TABLE_SIZE:
      next.headerTableSize = capped;
      break;
    case SettingId.ENABLE_PUSH:
      // A server may only send 0 (RFC 9113 section 6.5.2); a client's value does not matter, we never push.
      if (value > (setting.ownRole === 'client' ? 0 : 1)) throw badSetting('ENABLE_PUSH', value);
      break;
    case SettingId.MAX_CONCURRENT_STREAMS:
      next.maxConcurrentStreams = capped;
      break;
    case SettingId.INITIAL_WINDOW_SIZE:
      if (value > MAX_UINT31) {
        throw new H2Error(
          'FLOW_CONTROL_ERROR',
          `Reading SETTINGS: INITIAL_WINDOW_SIZE ${value} is above 2^31-1`,
        );
      }
      next.initialWindowSize = value;
      break;
    case SettingId.MAX_FRAME_SIZE:
      if (value < MIN_MAX_FRAME_SIZE || value > MAX_MAX_FRAME_SIZE) throw badSetting('MAX_FRAME_SIZE', value);
      next.maxFrameSize = value;
      break;
    case SettingId.MAX_HEADER_LIST_SIZE:
      next.maxHeaderListSize = capped;
      break;
    case SettingId.ENABLE_CONNECT_PROTOCOL:
      // RFC 8441 section 3: 0 or 1, and never taken back.
      if (value > 1 || (value === 0 && next.enableConnectProtocol))
        throw badSetting('ENABLE_CONNECT_PROTOCOL', value);
      next.enableConnectProtocol = value === 1;
      break;
    default:
      break; // RFC 9113 section 6.5.2: unknown settings are ignored.
  }
}

function badSetting(name: string, value: number): H2Error {
  return new H2Error('PROTOCOL_ERROR', `Reading SETTINGS: ${name} ${value} is not allowed`);
}
