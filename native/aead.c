/* SPDX-License-Identifier: Apache-2.0 */
#include "aead.h"

#include <string.h>

#include "wire.h"

#define NONCE_BYTES 12
#define NONCE_AT 16 /* of the header */

EVP_CIPHER_CTX *aead_new(const uint8_t *key, int sealing)
{
	EVP_CIPHER_CTX *cipher = EVP_CIPHER_CTX_new();

	if (cipher && EVP_CipherInit_ex(cipher, EVP_chacha20_poly1305(), NULL, key, NULL, sealing) == 1)
		return cipher;
	EVP_CIPHER_CTX_free(cipher);
	return NULL;
}

void aead_free(EVP_CIPHER_CTX *cipher)
{
	EVP_CIPHER_CTX_free(cipher); /* cleanses */
}

static int start(EVP_CIPHER_CTX *cipher, const uint8_t *header)
{
	uint8_t nonce[NONCE_BYTES] = {0};
	int written;

	memcpy(nonce + NONCE_BYTES - 8, header + NONCE_AT, 8);
	return EVP_CipherInit_ex(cipher, NULL, NULL, NULL, nonce, -1) == 1 &&
	       EVP_CipherUpdate(cipher, NULL, &written, header, WIRE_HEADER) == 1;
}

int aead_seal(EVP_CIPHER_CTX *cipher, uint8_t *packet, size_t length)
{
	uint8_t *frame = packet + WIRE_HEADER;
	int written;

	if (!start(cipher, packet) || EVP_CipherUpdate(cipher, frame, &written, frame, (int)length) != 1 ||
	    EVP_CipherFinal_ex(cipher, frame + length, &written) != 1)
		return -1;
	return EVP_CIPHER_CTX_ctrl(cipher, EVP_CTRL_AEAD_GET_TAG, WIRE_TAG, frame + length) == 1 ? 0 : -1;
}

int aead_open(EVP_CIPHER_CTX *cipher, uint8_t *packet, size_t length)
{
	uint8_t *frame = packet + WIRE_HEADER;
	int written;

	if (!start(cipher, packet) || EVP_CIPHER_CTX_ctrl(cipher, EVP_CTRL_AEAD_SET_TAG, WIRE_TAG, frame + length) != 1 ||
	    EVP_CipherUpdate(cipher, frame, &written, frame, (int)length) != 1)
		return -1;
	return EVP_CipherFinal_ex(cipher, frame + length, &written) == 1 ? 0 : -1;
}
