/* libcrypto's ChaCha20-Poly1305 in a tight loop, for bench/aead.py to compare with. Prototypes of its own: no OpenSSL
 * headers are needed.
 *
 *   aead KEY NONCE HEADER FRAME     in hex
 *
 * On standard input lines "seal|open|update TIMES"; answers on standard output: ns per frame, and the tag in hex. Seal and
 * open are what a VPN in C does per packet: nonce, associated data, data, tag. Update is the bare encryption of the
 * data and its part of the Poly1305 sum, as `openssl speed -evp` measures it. */
#include "common.h"

typedef struct evp_cipher_ctx_st EVP_CIPHER_CTX;
typedef struct evp_cipher_st EVP_CIPHER;
typedef unsigned char byte;

EVP_CIPHER_CTX *EVP_CIPHER_CTX_new(void);
const EVP_CIPHER *EVP_chacha20_poly1305(void);
int EVP_CIPHER_CTX_ctrl(EVP_CIPHER_CTX *, int, int, void *);
int EVP_CipherInit_ex(EVP_CIPHER_CTX *, const EVP_CIPHER *, void *, const byte *, const byte *, int);
int EVP_CipherUpdate(EVP_CIPHER_CTX *, byte *, int *, const byte *, int);
int EVP_CipherFinal_ex(EVP_CIPHER_CTX *, byte *, int *);

#define GET_TAG 0x10 /* EVP_CTRL_AEAD_GET_TAG and EVP_CTRL_AEAD_SET_TAG */
#define SET_TAG 0x11
#define TAG 16
#define NONCE 12

static size_t from_hex(const char *text, byte *out, size_t room)
{
	size_t length = strlen(text) / 2;

	for (size_t i = 0; i < length && i < room; i++)
		if (sscanf(text + 2 * i, "%2hhx", &out[i]) != 1)
			die("hex");
	return length;
}

static int frame_once(EVP_CIPHER_CTX *ctx, int seal, const byte *nonce, const byte *header, int header_length,
		      byte *out, const byte *in, int length, byte *tag)
{
	int n;

	return EVP_CipherInit_ex(ctx, NULL, NULL, NULL, nonce, seal) &&
	       (seal || EVP_CIPHER_CTX_ctrl(ctx, SET_TAG, TAG, tag)) &&
	       EVP_CipherUpdate(ctx, NULL, &n, header, header_length) && EVP_CipherUpdate(ctx, out, &n, in, length) &&
	       EVP_CipherFinal_ex(ctx, out + n, &n) && (!seal || EVP_CIPHER_CTX_ctrl(ctx, GET_TAG, TAG, tag));
}

int main(int count, char **words)
{
	byte key[32], nonce[NONCE], header[64], frame[LARGEST], sealed[LARGEST], out[LARGEST], tag[TAG];
	int header_length, length, n;
	long times;
	char what[16];
	EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();

	if (count != 5 || !ctx || from_hex(words[1], key, sizeof(key)) != sizeof(key) ||
	    from_hex(words[2], nonce, sizeof(nonce)) != sizeof(nonce))
		die("aead KEY NONCE HEADER FRAME");
	header_length = from_hex(words[3], header, sizeof(header));
	length = from_hex(words[4], frame, sizeof(frame));
	if (header_length > (int)sizeof(header) || length > (int)sizeof(frame))
		die("header or frame too long");
	if (!EVP_CipherInit_ex(ctx, EVP_chacha20_poly1305(), NULL, key, nonce, 1) ||
	    !frame_once(ctx, 1, nonce, header, header_length, sealed, frame, length, tag))
		die("OpenSSL");
	while (scanf("%15s %ld", what, &times) == 2) {
		int ok = 1, seal = what[0] == 's';
		int64_t begin;

		begin = now();
		if (what[0] == 'u') {
			EVP_CipherInit_ex(ctx, NULL, NULL, NULL, nonce, 1);
			for (long i = 0; i < times && ok; i++)
				ok = EVP_CipherUpdate(ctx, out, &n, frame, length);
		} else {
			for (long i = 0; i < times && ok; i++)
				ok = frame_once(ctx, seal, nonce, header, header_length, out, seal ? frame : sealed,
						length, tag);
		}
		if (!ok)
			die("OpenSSL");
		printf("%.1f ", (double)(now() - begin) / times);
		for (int i = 0; i < TAG; i++)
			printf("%02x", tag[i]);
		printf("\n");
		fflush(stdout);
	}
	return 0;
}
