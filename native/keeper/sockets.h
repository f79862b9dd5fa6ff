// SPDX-License-Identifier: Apache-2.0
#pragma once

namespace phos::keeper {

/** Prints "inode peer-inode" for every connected unix socket of this network namespace (what
 *  /proc/net/unix does not tell); returns an exit status. Asked of the kernel with sock_diag. */
int print_unix_peers();

}  // namespace phos::keeper
