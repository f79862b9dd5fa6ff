// SPDX-License-Identifier: Apache-2.0
// PhosError over RPC, both ways. The gRPC code is for generic tools; ErrorDetail is the truth.
import { create } from '@bufbuild/protobuf';
import { Code, ConnectError } from '@connectrpc/connect';
import { type ErrorCode, PhosError } from '../errors/phos-error.ts';
import { ErrorDetailSchema } from '../gen/proto/phos/v1/control_pb.ts';

const codes: Readonly<Record<ErrorCode, Code>> = {
  USAGE: Code.InvalidArgument,
  UNSUPPORTED: Code.Unimplemented,
  PERMISSION: Code.PermissionDenied,
  NOT_FOUND: Code.NotFound,
  IMAGE_INVALID: Code.DataLoss,
  TIMEOUT: Code.DeadlineExceeded,
  UNAVAILABLE: Code.Unavailable,
  CONFLICT: Code.FailedPrecondition,
  DEVICE: Code.Aborted,
  TRANSPORT: Code.Internal,
  STORAGE: Code.ResourceExhausted,
  INTERNAL: Code.Internal,
  CANCELLED: Code.Canceled,
};

const LOST = 'phosd ended while it was asked; start it again with phos start, and see its log';

/** What a handler throws so that the other side gets the PhosError back. */
export function toConnectError(thrown: unknown, doing: string): ConnectError {
  const error = PhosError.from(thrown, doing);
  const { code, message, details, retryable } = error.toJSON();
  const detail = create(ErrorDetailSchema, {
    code,
    message,
    retryable,
    detailsJson: JSON.stringify(details),
  });
  return new ConnectError(message, codes[error.code], undefined, [
    { desc: ErrorDetailSchema, value: detail },
  ]);
}

/**
 * The PhosError that a failed call stands for.
 *
 * @param where the socket, for what is said when nobody listens there
 * @param aborted the caller itself gave the call up; else a cancelled call is a lost connection
 */
export function fromConnectError(thrown: unknown, where: string, aborted: boolean): PhosError {
  if (thrown instanceof PhosError) return thrown;
  const error = ConnectError.from(thrown);
  const [detail] = error.findDetails(ErrorDetailSchema);
  if (detail !== undefined) {
    return PhosError.fromJSON({
      code: detail.code,
      message: detail.message,
      retryable: detail.retryable,
      details: parseDetails(detail.detailsJson),
    });
  }
  if (error.code === Code.Canceled && !aborted) {
    return new PhosError('UNAVAILABLE', `${LOST} (phosd at ${where})`, { cause: thrown });
  }
  return new PhosError(codeOf(error), `${messageOf(error)} (phosd at ${where})`, {
    cause: thrown,
    details: { socket: where },
  });
}

function parseDetails(text: string): Record<string, unknown> {
  if (text === '') return {};
  const value: unknown = JSON.parse(text);
  return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {};
}

function codeOf(error: ConnectError): ErrorCode {
  const errno = errnoOf(error);
  if (errno === 'EACCES' || errno === 'EPERM') return 'PERMISSION';
  switch (error.code) {
    case Code.Canceled:
      return 'CANCELLED';
    case Code.DeadlineExceeded:
      return 'TIMEOUT';
    case Code.Unavailable:
    case Code.Aborted:
      return 'UNAVAILABLE';
    case Code.InvalidArgument:
      return 'USAGE';
    default:
      return errno === null && !isClosing(error) ? 'TRANSPORT' : 'UNAVAILABLE';
  }
}

function messageOf(error: ConnectError): string {
  const errno = errnoOf(error);
  switch (errno) {
    case 'ENOENT':
    case 'ENOTDIR':
    case 'ECONNREFUSED':
      return 'phosd is not running; start it with phos start';
    case 'EACCES':
    case 'EPERM':
      return 'this user may not talk to phosd; run phos as its owner, or set PHOS_RUNTIME_DIR';
    case 'ECONNRESET':
    case 'EPIPE':
      return LOST;
    default:
      return isClosing(error)
        ? 'phosd is stopping; start it again with phos start'
        : error.rawMessage;
  }
}

/** A server that stops refuses new streams, or ends the session under them. */
function isClosing(error: ConnectError): boolean {
  return /REFUSED_STREAM|GOAWAY|session (was|has been) (closed|destroyed)/i.test(error.rawMessage);
}

function errnoOf(error: ConnectError): string | null {
  for (let cause: unknown = error; cause instanceof Error; cause = cause.cause) {
    const { code } = cause as { code?: unknown };
    if (typeof code === 'string' && /^E[A-Z]+$/.test(code)) return code;
  }
  return null;
}
