/* SPDX-License-Identifier: Apache-2.0
 *
 * ChaCha20-Poly1305 (RFC 8439) with the nonce 0x00000000 || nonce, by OpenSSL's libcrypto.
 */
#ifndef NATIVE_AEAD_H
#define NATIVE_AEAD_H

#include <openssl/evp.h>
#include <stddef.h>
#include <stdint.h>

/* NULL when there is no memory. Freed by aead_free(), which zeroes the key. */
EVP_CIPHER_CTX *aead_new(const uint8_t *key, int sealing);
void aead_free(EVP_CIPHER_CTX *cipher);

/* In place: header (WIRE_HEADER bytes, associated data) | length bytes | room for the tag. 0, or -1 when libcrypto fails. */
int aead_seal(EVP_CIPHER_CTX *cipher, uint8_t *packet, size_t length);

/* The same the other way; -1: the tag is wrong, and the content is then undefined. Constant time. */
int aead_open(EVP_CIPHER_CTX *cipher, uint8_t *packet, size_t length);

#endif
