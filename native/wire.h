/* SPDX-License-Identifier: Apache-2.0
 *
 * The data packet (omni_core/wire/header.py draws it), and the numbers of omni_core/constants.py and drops.py that the
 * engine needs; a test compares them. All integers on the wire are little-endian.
 *
 *    session_id 64 | sequence 64 | nonce 64 | ChaCha20(frame) | Poly1305 128
 */
#ifndef NATIVE_WIRE_H
#define NATIVE_WIRE_H

#include <endian.h>
#include <stdint.h>
#include <string.h>

#define WIRE_HEADER 24
#define WIRE_TAG 16
#define WIRE_OVERHEAD (WIRE_HEADER + WIRE_TAG)
#define FIRST_DATA_BYTE 0x10

#define ETHERNET 14
#define MIN_FRAME ETHERNET
#define MAX_FRAME (9216 + ETHERNET + 4)
#define CONTROL_ETHERTYPE 0x88b5

#define SEQUENCE_BITS 56
#define SEQUENCE_MASK ((UINT64_C(1) << SEQUENCE_BITS) - 1)
#define STREAM_SHIFT 62
#define REJECT_AFTER_MESSAGES ((UINT64_C(1) << SEQUENCE_BITS) - (1 << 13) - 1)

enum drop_reason {
	DROP_TOO_SHORT = 1,
	DROP_TOO_LONG = 2,
	DROP_UNKNOWN_SESSION = 4,
	DROP_BAD_NONCE = 5,
	DROP_REPLAYED = 6,
	DROP_BAD_TAG = 7,
	DROP_SESSION_EXPIRED = 8,
	DROP_BAD_INNER_FRAME = 9,
	DROP_SOURCE_MAC_REFUSED = 10,
	DROP_PORT_REFUSED = 11,
	DROP_PAUSED = 12,
	DROP_NOT_LISTENING = 13,
	DROP_NO_SESSION = 20,
	DROP_UNKNOWN_DESTINATION = 21,
	DROP_FRAME_TOO_LONG = 23,
	DROP_SEQUENCE_EXHAUSTED = 24,
	DROP_NO_PATH = 25,
	DROP_FRAME_TOO_SHORT = 26,
	DROP_SPLIT_HORIZON = 28,
	DROP_RESERVED_DESTINATION = 29,
	DROP_SEND_FAILED = 30,
	DROP_NO_ROOM = 32,
};

static inline uint64_t load_le64(const uint8_t *at)
{
	uint64_t value;

	memcpy(&value, at, sizeof(value));
	return le64toh(value);
}

static inline void store_le64(uint8_t *at, uint64_t value)
{
	value = htole64(value);
	memcpy(at, &value, sizeof(value));
}

static inline uint16_t load_be16(const uint8_t *at)
{
	return (uint16_t)(at[0] << 8 | at[1]);
}

static inline void write_header(uint8_t *packet, uint64_t session_id, uint64_t sequence, unsigned stream)
{
	store_le64(packet, session_id);
	store_le64(packet + 8, sequence);
	store_le64(packet + 16, (uint64_t)stream << STREAM_SHIFT | sequence);
}

static inline int is_group(const uint8_t *mac)
{
	return mac[0] & 1;
}

static inline int is_control_mac(const uint8_t *mac)
{
	static const uint8_t control[6] = {0x03, 0x6f, 0x6d, 0x6e, 0x69, 0x00};

	return !memcmp(mac, control, sizeof(control));
}

static inline int is_tpid(uint16_t type)
{
	return type == 0x8100 || type == 0x88a8;
}

/* The VLAN that the frame is learned and looked up on; 0: untagged, priority-tagged, or cut off in the tag. */
static inline uint16_t vlan_of(const uint8_t *frame, size_t length)
{
	if (length < ETHERNET + 4 || !is_tpid(load_be16(frame + 12)))
		return 0;
	return load_be16(frame + 14) & 0xfff;
}

/* An ARP request or a neighbour solicitation says whom the host is about to talk to: the Ganglion wants to know. */
static inline int is_question(const uint8_t *frame, size_t length)
{
	uint16_t type = load_be16(frame + 12);
	size_t at = ETHERNET;

	for (int tags = 0; tags < 2 && is_tpid(type) && length >= at + 4; tags++) {
		type = load_be16(frame + at + 2);
		at += 4;
	}
	if (type == 0x0806)
		return 1;
	return type == 0x86dd && length >= at + 41 && frame[at + 6] == 58 && frame[at + 40] == 135;
}

#endif
