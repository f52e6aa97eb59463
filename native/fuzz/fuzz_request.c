/* SPDX-License-Identifier: Apache-2.0
 *
 * Whatever may come over the socket of the Ganglion: chunks with their length in front; the first byte of each is the type
 * of a message, the rest its body. Afterwards every peer and session can be removed.
 */
#include "small_engine.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct answer answer;
	static const struct retain nobody;
	static int entries;
	uint8_t *chunk;
	size_t length;

	if (!small_worker()->engine)
		small_start();
	while (small_chunk(&data, &size, &chunk, &length)) {
		answer.length = 0;
		if (length && chunk[0] >= MESSAGE_SEAL)
			request_one_way(&small_engine, chunk[0], chunk + 1, length - 1);
		else if (length)
			request_carry_out(&small_engine, chunk[0], chunk + 1, length - 1, &answer);
		HOLDS(answer.length <= sizeof(answer.body));
		free(chunk);
	}
	receive_discard(small_worker());
	small_engine.stopped = 0;
	small_engine.forwarding = 1;
	HOLDS(!request_carry_out(&small_engine, MESSAGE_RETAIN, (const uint8_t *)&nobody, sizeof(nobody), &answer));
	HOLDS(!small_engine.session_count && !small_engine.peer_count);
	if (++entries % 64 == 0) /* static entries of nobody pile up */
		fdb_remove_owner(&small_engine, OWNER_LOCAL);
	small_session();
	return 0;
}
