/* SPDX-License-Identifier: Apache-2.0 */
#include "selftest.h"

#include <openssl/evp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "aead.h"
#include "merge.h"
#include "segment.h"
#include "window.h"
#include "wire.h"

static int check(const char *what, int good)
{
	printf("%-60s %s\n", what, good ? "ok" : "WRONG");
	return !good;
}

static void unhex(uint8_t *out, const char *text)
{
	for (unsigned value; sscanf(text, "%2x", &value) == 1; text += 2)
		*out++ = (uint8_t)value;
}

/* RFC 8439 A.5: its nonce begins with 32 zero bits, as ours do. */
static int libcrypto_works(void)
{
	uint8_t key[32], nonce[12], aad[12], text[265], expected_start[16], tag[16];
	EVP_CIPHER_CTX *cipher = EVP_CIPHER_CTX_new();
	int written, good;

	unhex(key, "1c9240a5eb55d38af333888604f6b5f0473917c1402b80099dca5cbc207075c0");
	unhex(nonce, "000000000102030405060708");
	unhex(aad, "f33388860000000000004e91");
	unhex(tag, "eead9d67890cbb22392336fea1851f38");
	unhex(expected_start, "496e7465726e65742d44726166747320"); /* "Internet-Drafts " */
	unhex(text, "64a0861575861af460f062c79be643bd5e805cfd345cf389f108670ac76c8cb2"
		    "4c6cfc18755d43eea09ee94e382d26b0bdb7b73c321b0100d4f03b7f355894cf"
		    "332f830e710b97ce98c8a84abd0b948114ad176e008d33bd60f982b1ff37c855"
		    "9797a06ef4f0ef61c186324e2b3506383606907b6a7c02b0f9f6157b53c867e4"
		    "b9166c767b804d46a59b5216cde7a4e99040c5a40433225ee282a1b0a06c523e"
		    "af4534d7f83fa1155b0047718cbc546a0d072b04b3564eea1b422273f548271a"
		    "0bb2316053fa76991955ebd63159434ecebb4e466dae5a1073a6727627097a10"
		    "49e617d91d361094fa68f0ff77987130305beaba2eda04df997b714d6c6f2c29"
		    "a6ad5cb4022b02709b");
	good = cipher && EVP_DecryptInit_ex(cipher, EVP_chacha20_poly1305(), NULL, key, nonce) == 1 &&
	       EVP_CIPHER_CTX_ctrl(cipher, EVP_CTRL_AEAD_SET_TAG, 16, tag) == 1 &&
	       EVP_DecryptUpdate(cipher, NULL, &written, aad, sizeof(aad)) == 1 &&
	       EVP_DecryptUpdate(cipher, text, &written, text, sizeof(text)) == 1 &&
	       EVP_DecryptFinal_ex(cipher, text, &written) == 1 && !memcmp(text, expected_start, sizeof(expected_start));
	EVP_CIPHER_CTX_free(cipher);
	return good;
}

#define GOLDEN_FRAME 64
#define GOLDEN_PACKET (GOLDEN_FRAME + WIRE_OVERHEAD)

/* By the python engine: key 00..1f, session 0x1122334455667788, sequence 0x0102030405, the frame below. */
static const char *const golden[2] = {
	"88776655443322110504030201000000050403020100000033830ad0d3c0b1ccd31d0c2344b7a747a4d1fa42e19802afc747de57ac730ab4"
	"b2454c58f623eb251cf4711ebff500f625cf72c6cf240e051efc6e88e4244492d06a0eecad725235f6f3437b6952a1cb",
	"887766554433221105040302010000000504030201000040674aa8fc27d8037b2ac824236a5234ea2beacc50305c82864a1239693b05c8f4"
	"bf896c0c7ef3bf563c5c070379b066eb5c4b5d0a9f1b92b245369f6a74f7e5c6629cc0d51f65c615db5dec666c7c1845",
};

static void golden_frame(uint8_t *frame)
{
	unhex(frame, "02000000000b02000000000a88b5");
	for (int i = 0; i < GOLDEN_FRAME - ETHERNET; i++)
		frame[ETHERNET + i] = (uint8_t)i;
}

static int packets_are_golden(unsigned stream)
{
	uint8_t key[32], frame[GOLDEN_FRAME], expected[GOLDEN_PACKET], packet[GOLDEN_PACKET];
	EVP_CIPHER_CTX *sealer, *opener;
	int good;

	for (int i = 0; i < 32; i++)
		key[i] = (uint8_t)i;
	sealer = aead_new(key, 1);
	opener = aead_new(key, 0);
	golden_frame(frame);
	unhex(expected, golden[stream]);
	write_header(packet, UINT64_C(0x1122334455667788), UINT64_C(0x0102030405), stream);
	memcpy(packet + WIRE_HEADER, frame, sizeof(frame));
	good = sealer && opener && !aead_seal(sealer, packet, sizeof(frame)) && !memcmp(packet, expected, sizeof(expected));
	good = good && !aead_open(opener, packet, sizeof(frame)) && !memcmp(packet + WIRE_HEADER, frame, sizeof(frame));
	for (unsigned i = 0; good && i < sizeof(expected) * 8; i++) {
		memcpy(packet, expected, sizeof(packet));
		packet[i / 8] ^= (uint8_t)(1 << i % 8);
		good = aead_open(opener, packet, sizeof(frame)) != 0;
	}
	aead_free(sealer);
	aead_free(opener);
	return good;
}

/* Beside the plainest of windows: one flag for each sequence. */
static int window_is_right(unsigned *random)
{
	enum { SEQUENCES = 100000 };
	static uint8_t seen[SEQUENCES];
	static struct lane_stream window;
	uint64_t highest = 0;
	int any = 0;

	for (int i = 0; i < 400000; i++) {
		uint64_t near = highest > 9000 ? highest - 9000 : 0;
		uint64_t sequence = (near + (uint64_t)rand_r(random) % 9100) % SEQUENCES;
		int fits = !any || sequence > highest || (highest - sequence <= WINDOW_BITS && !seen[sequence]);

		if (window_check(&window, sequence) != fits)
			return 0;
		if (fits) {
			window_accept(&window, sequence);
			seen[sequence] = 1;
			highest = !any || sequence > highest ? sequence : highest;
			any = 1;
		}
	}
	return 1;
}

struct merged {
	uint8_t bytes[70000];
	size_t length;
	struct virtio_net_hdr vnet;
	unsigned calls;
};

static void keep(void *context, const struct virtio_net_hdr *vnet, const struct iovec *pieces, int count, unsigned segments)
{
	struct merged *merged = context;

	(void)segments;
	merged->length = 0;
	for (int i = 0; i < count; i++) {
		memcpy(merged->bytes + merged->length, pieces[i].iov_base, pieces[i].iov_len);
		merged->length += pieces[i].iov_len;
	}
	merged->vnet = *vnet;
	merged->calls++;
}

/* Ethernet, IPv4 and TCP headers of a super-frame with an open checksum, as a TAP gives it. */
static size_t super_frame(uint8_t *frame, size_t payload, unsigned *random)
{
	unhex(frame, "02000000000b02000000000a0800"
		     "4500000012344000400600000a4d00010a4d0002"
		     "c3501f90000000010000000150101000000000000");
	frame[16] = (uint8_t)((payload + 40) >> 8);
	frame[17] = (uint8_t)(payload + 40);
	for (size_t i = 0; i < payload; i++)
		frame[54 + i] = (uint8_t)rand_r(random);
	return 54 + payload;
}

/* Cut into frames, merged again, cut again: the frames are the same. */
static int cutting_and_merging_agree(unsigned *random)
{
	static uint8_t frame[70000], cut[70000], again[2000];
	static struct merged merged;
	static struct merger merger;
	const struct virtio_net_hdr vnet = {
		.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM,
		.gso_type = VIRTIO_NET_HDR_GSO_TCPV4,
		.gso_size = 1366,
		.hdr_len = 54,
		.csum_start = 34,
		.csum_offset = 16,
	};
	struct cutter cutter;
	size_t total = 0, length, at = 0;

	if (cutter_start(&cutter, &vnet, frame, super_frame(frame, 40000, random), 1432))
		return 0;
	merger_init(&merger, keep, &merged);
	merged.calls = 0;
	while ((length = cutter_next(&cutter, cut + total))) {
		merger_add(&merger, cut + total, length);
		total += length;
	}
	merger_flush(&merger);
	if (merged.calls != 1 || merged.length != 40054 || cutter_start(&cutter, &merged.vnet, merged.bytes, merged.length, 1432))
		return 0;
	/* Merging has changed the headers of the first frame in place: the others are as they were. */
	while ((length = cutter_next(&cutter, again))) {
		if (at && memcmp(cut + at, again, length))
			return 0;
		at += length;
	}
	return at == total;
}

int selftest(void)
{
	unsigned seed = 20, random = seed;
	int wrong = 0;

	printf("seed %u\n", seed);
	wrong |= check("libcrypto: RFC 8439 A.5", libcrypto_works());
	wrong |= check("packets of stream 0, and each bit changed", packets_are_golden(0));
	wrong |= check("packets of stream 1, and each bit changed", packets_are_golden(1));
	wrong |= check("replay window beside a naive one", window_is_right(&random));
	wrong |= check("super-frame cut, merged, and cut again", cutting_and_merging_agree(&random));
	return wrong;
}
