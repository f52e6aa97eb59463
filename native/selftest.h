/* SPDX-License-Identifier: Apache-2.0
 *
 * `omni-native --selftest`: does this build, on this machine, compute what it should? Needs no privileges and no network.
 */
#ifndef NATIVE_SELFTEST_H
#define NATIVE_SELFTEST_H

/* Prints a line for each check. 0: all passed. */
int selftest(void);

#endif
