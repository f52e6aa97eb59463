/* SPDX-License-Identifier: Apache-2.0
 * BPF instructions for aead_block.h: operands are register numbers, names of memory operands of the asm statement,
 * offsets and constants. Those on 32 bits are spelt as bytes (the BPF instruction set, RFC 9669): the assembler of ISA
 * v2, which bcc targets, does not know them, and every kernel since 4.18 does. */
#ifndef SYNAPSE_AEAD_ASM_H
#define SYNAPSE_AEAD_ASM_H

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "the AEAD is written for little-endian machines"
#endif

/* Opcode, source and destination register, offset, constant. The result is zero above bit 31. */
#define AEAD_RAW(opcode, d, s) ".byte " #opcode ", 0x" #s #d ", 0, 0, 0, 0, 0, 0\n"
#define ADD32(d, s) AEAD_RAW(0x0c, d, s)
#define XOR32(d, s) AEAD_RAW(0xac, d, s)
#define MOV32(d, s) AEAD_RAW(0xbc, d, s)
#define ADD32_IMM(d, value) ".byte 0x04, " #d ", 0, 0\n.long " #value "\n"

#define SET(d, value) "r" #d " = " #value "\n"
#define SET64(d, value) "r" #d " = " #value " ll\n"
#define MOV(d, s) "r" #d " = r" #s "\n"
#define ADD(d, s) "r" #d " += r" #s "\n"
#define XOR(d, s) "r" #d " ^= r" #s "\n"
#define AND(d, s) "r" #d " &= r" #s "\n"
#define OR(d, s) "r" #d " |= r" #s "\n"
#define MUL(d, s) "r" #d " *= r" #s "\n"
#define SHL(d, n) "r" #d " <<= " #n "\n"
#define SHR(d, n) "r" #d " >>= " #n "\n"

#define LOAD32(d, place) "r" #d " = *(u32 *)%[" #place "]\n"
#define LOAD64(d, place) "r" #d " = *(u64 *)%[" #place "]\n"
#define STORE32(place, s) "*(u32 *)%[" #place "] = r" #s "\n"
#define STORE64(place, s) "*(u64 *)%[" #place "] = r" #s "\n"

#define FETCH32(d, pointer, offset) "r" #d " = *(u32 *)(r" #pointer " + " #offset ")\n"
#define FETCH64(d, pointer, offset) "r" #d " = *(u64 *)(r" #pointer " + " #offset ")\n"
#define PUT64(pointer, offset, s) "*(u64 *)(r" #pointer " + " #offset ") = r" #s "\n"

#endif
