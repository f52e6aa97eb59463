/* SPDX-License-Identifier: Apache-2.0
 *
 * See merge.h. The rules are those of the kernel's tcp_gro_receive() and inet_gro_receive(), narrowed to segments
 * that carry nothing but data: what is merged here and cut again gives the same frames.
 */
#include "merge.h"

#include "inner.h"

#define ONE_TAG (INNER_ETHERNET + INNER_TAG)

enum sort {
	SORT_NO_TCP,  /* of no flow that could be open */
	SORT_OBSCURE, /* perhaps of any flow: a fragment, options, something broken */
	SORT_TCP,
};

struct segment {
	uint8_t *frame;
	size_t length; /* as it came */
	size_t end;    /* without padding */
	size_t network, transport, headers;
	int ip_version;
};

static void emit_frame(struct merger *merger, uint8_t *frame, size_t length, int checked)
{
	struct virtio_net_hdr vnet = {.flags = checked ? VIRTIO_NET_HDR_F_DATA_VALID : 0};
	struct iovec piece = {.iov_base = frame, .iov_len = length};

	merger->emit(merger->context, &vnet, &piece, 1, 1);
}

/* Makes the first one's headers those of the super-frame. */
static void patch_headers(const struct merge_flow *flow)
{
	uint8_t *ip = flow->head + flow->network, *tcp = flow->head + flow->transport;
	size_t bytes = flow->total - (size_t)(flow->transport - flow->network);
	uint64_t sum;

	if (flow->ip_version == 4) {
		inner_put16(ip + IPV4_LENGTH, (uint16_t)flow->total);
		inner_put_sum(ip + IPV4_CHECKSUM, 0);
		inner_put_sum(ip + IPV4_CHECKSUM, (uint16_t)~checksum_fold(checksum_sum(ip, IPV4_HEADER)));
		sum = inner_pseudo_sum(ip + IPV4_ADDRESSES, 4, INNER_TCP);
	} else {
		inner_put16(ip + IPV6_LENGTH, (uint16_t)(flow->total - IPV6_HEADER));
		sum = inner_pseudo_sum(ip + IPV6_ADDRESSES, 6, INNER_TCP);
	}
	if (flow->pushed)
		tcp[TCP_OFFSET + 1] |= TCP_PSH;
	inner_put_sum(tcp + TCP_CHECKSUM, checksum_fold(sum + inner_length_sum(bytes)));
}

/* Emits what is open of the flow at ``place`` in the order, and frees it. */
static void close_flow(struct merger *merger, int place)
{
	uint8_t index = merger->order[place];
	struct merge_flow *flow = &merger->flows[index];

	merger->used--;
	memmove(merger->order + place, merger->order + place + 1, (size_t)(merger->used - place));
	merger->order[merger->used] = index;
	if (flow->count == 1) {
		emit_frame(merger, flow->head, flow->head_bytes, 1);
		return;
	}
	patch_headers(flow);
	struct virtio_net_hdr vnet = {
		.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM,
		.gso_type = flow->ip_version == 4 ? VIRTIO_NET_HDR_GSO_TCPV4 : VIRTIO_NET_HDR_GSO_TCPV6,
		.hdr_len = flow->headers,
		.gso_size = (uint16_t)flow->payload_size,
		.csum_start = flow->transport,
		.csum_offset = TCP_CHECKSUM,
	};
	merger->emit(merger->context, &vnet, flow->pieces, flow->count, (unsigned)flow->count);
}

static enum sort read_ipv4(struct segment *segment)
{
	const uint8_t *ip = segment->frame + segment->network;
	size_t room = segment->length - segment->network, bytes;

	if (room < IPV4_HEADER || ip[0] >> 4 != 4)
		return SORT_OBSCURE;
	if (ip[IPV4_PROTOCOL] != INNER_TCP)
		return SORT_NO_TCP;
	bytes = inner_get16(ip + IPV4_LENGTH);
	if (ip[0] != (4 << 4 | IPV4_HEADER / 4) || inner_get16(ip + IPV4_FRAGMENT) & ~IPV4_DONT_FRAGMENT || bytes > room)
		return SORT_OBSCURE;
	segment->ip_version = 4;
	segment->transport = segment->network + IPV4_HEADER;
	segment->end = segment->network + bytes;
	return SORT_TCP;
}

static enum sort read_ipv6(struct segment *segment)
{
	const uint8_t *ip = segment->frame + segment->network;
	size_t room = segment->length - segment->network, bytes;

	if (room < IPV6_HEADER || ip[0] >> 4 != 6)
		return SORT_OBSCURE;
	if (ip[IPV6_NEXT] == INNER_UDP || ip[IPV6_NEXT] == INNER_ICMPV6)
		return SORT_NO_TCP;
	bytes = IPV6_HEADER + (size_t)inner_get16(ip + IPV6_LENGTH);
	if (ip[IPV6_NEXT] != INNER_TCP || bytes > room)
		return SORT_OBSCURE;
	segment->ip_version = 6;
	segment->transport = segment->network + IPV6_HEADER;
	segment->end = segment->network + bytes;
	return SORT_TCP;
}

static enum sort read_segment(struct segment *segment, uint8_t *frame, size_t length)
{
	uint16_t type = inner_type(frame, length, &segment->network);
	enum sort sort;

	if (type != INNER_TYPE_IPV4 && type != INNER_TYPE_IPV6)
		return SORT_NO_TCP;
	segment->frame = frame;
	segment->length = length;
	sort = type == INNER_TYPE_IPV4 ? read_ipv4(segment) : read_ipv6(segment);
	if (sort != SORT_TCP)
		return sort;
	if (segment->network > ONE_TAG || segment->end < segment->transport + TCP_HEADER)
		return SORT_OBSCURE;
	segment->headers = segment->transport + (size_t)(frame[segment->transport + TCP_OFFSET] >> 4) * 4;
	if (segment->headers < segment->transport + TCP_HEADER || segment->headers > segment->end)
		return SORT_OBSCURE;
	return SORT_TCP;
}

static const uint8_t *addresses(const uint8_t *ip, int ip_version)
{
	return ip + (ip_version == 4 ? IPV4_ADDRESSES : IPV6_ADDRESSES);
}

/* A right checksum makes the sum over all 0xffff: never 0, as the pseudo-header's protocol is not. */
static int checksums_right(const struct segment *segment)
{
	const uint8_t *ip = segment->frame + segment->network;
	size_t bytes = segment->end - segment->transport;
	uint64_t sum;

	if (segment->ip_version == 4 && checksum_fold(checksum_sum(ip, IPV4_HEADER)) != 0xffff)
		return 0;
	sum = inner_pseudo_sum(addresses(ip, segment->ip_version), segment->ip_version, INNER_TCP);
	sum += inner_length_sum(bytes) + checksum_sum(segment->frame + segment->transport, bytes);
	return checksum_fold(sum) == 0xffff;
}

/* Whether it is of the flow, by addresses and ports alone: of what differs otherwise the order has to be kept too. */
static int same_flow(const struct merge_flow *flow, const struct segment *segment)
{
	const uint8_t *ours = flow->head + flow->network, *theirs = segment->frame + segment->network;

	return flow->ip_version == segment->ip_version &&
	       !memcmp(flow->head + flow->transport, segment->frame + segment->transport, 4) &&
	       !memcmp(addresses(ours, flow->ip_version), addresses(theirs, flow->ip_version), flow->ip_version == 4 ? 8 : 32);
}

/* Place in the order of the open flow that it is of, -1: none. */
static int find_flow(const struct merger *merger, const struct segment *segment)
{
	for (int place = 0; place < merger->used; place++)
		if (same_flow(&merger->flows[merger->order[place]], segment))
			return place;
	return -1;
}

/* Whether it carries data and nothing else. */
static int may_merge(const struct segment *segment)
{
	const uint8_t *tcp = segment->frame + segment->transport;

	return segment->end > segment->headers && !(tcp[TCP_OFFSET] & 0x0f) &&
	       (tcp[TCP_OFFSET + 1] & ~TCP_PSH) == TCP_ACK;
}

static int same_network(const struct merge_flow *flow, const struct segment *segment)
{
	const uint8_t *ours = flow->head + flow->network, *theirs = segment->frame + segment->network;

	if (flow->ip_version == 6) /* traffic class, flow label */
		return !memcmp(ours, theirs, 4) && ours[IPV6_HOP_LIMIT] == theirs[IPV6_HOP_LIMIT];
	if (ours[IPV4_TOS] != theirs[IPV4_TOS] || ours[IPV4_TTL] != theirs[IPV4_TTL])
		return 0;
	if (memcmp(ours + IPV4_FRAGMENT, theirs + IPV4_FRAGMENT, 2))
		return 0;
	return inner_get16(ours + IPV4_FRAGMENT) & IPV4_DONT_FRAGMENT || inner_get16(theirs + IPV4_ID) == flow->next_id;
}

/* Whether it is the next one of the flow, and fits. */
static int continues(const struct merge_flow *flow, const struct segment *segment)
{
	const uint8_t *ours = flow->head + flow->transport, *theirs = segment->frame + segment->transport;
	size_t payload = segment->end - segment->headers;

	return flow->network == segment->network && flow->headers == segment->headers &&
	       inner_get32(theirs + TCP_SEQUENCE) == flow->next_sequence && payload <= flow->payload_size &&
	       flow->count < MERGE_PIECES && flow->total + payload <= INNER_LENGTH_MAX &&
	       !memcmp(flow->head, segment->frame, flow->network) && same_network(flow, segment) &&
	       !memcmp(ours + TCP_ACKNOWLEDGEMENT, theirs + TCP_ACKNOWLEDGEMENT, 4) &&
	       !memcmp(ours + TCP_WINDOW, theirs + TCP_WINDOW, 2) &&
	       !memcmp(ours + TCP_URGENT, theirs + TCP_URGENT, (size_t)(flow->headers - flow->transport) - TCP_URGENT);
}

static void append(struct merge_flow *flow, const struct segment *segment)
{
	const uint8_t *tcp = segment->frame + segment->transport;
	size_t payload = segment->end - segment->headers;

	flow->pieces[flow->count++] = (struct iovec){.iov_base = segment->frame + segment->headers, .iov_len = payload};
	flow->total += payload;
	flow->next_sequence += (uint32_t)payload;
	flow->next_id++;
	flow->pushed = !!(tcp[TCP_OFFSET + 1] & TCP_PSH);
}

static void open_flow(struct merger *merger, const struct segment *segment)
{
	const uint8_t *tcp = segment->frame + segment->transport;
	size_t payload = segment->end - segment->headers;
	struct merge_flow *flow;

	if (merger->used == MERGE_FLOWS)
		close_flow(merger, 0);
	flow = &merger->flows[merger->order[merger->used++]];
	flow->head = segment->frame;
	flow->head_bytes = segment->length;
	flow->payload_size = payload;
	flow->total = segment->end - segment->network;
	flow->next_sequence = inner_get32(tcp + TCP_SEQUENCE) + (uint32_t)payload;
	flow->next_id = (uint16_t)(inner_get16(segment->frame + segment->network + IPV4_ID) + 1);
	flow->ip_version = (uint8_t)segment->ip_version;
	flow->network = (uint8_t)segment->network;
	flow->transport = (uint8_t)segment->transport;
	flow->headers = (uint8_t)segment->headers;
	flow->pushed = 0;
	flow->count = 1;
	flow->pieces[0] = (struct iovec){.iov_base = segment->frame, .iov_len = segment->end};
}

void merger_init(struct merger *merger, merge_emit emit, void *context)
{
	merger->emit = emit;
	merger->context = context;
	merger->used = 0;
	for (int i = 0; i < MERGE_FLOWS; i++)
		merger->order[i] = (uint8_t)i;
}

void merger_add(struct merger *merger, uint8_t *frame, size_t length)
{
	struct segment segment;
	struct merge_flow *flow;
	enum sort sort = read_segment(&segment, frame, length);
	int place, right, merge;

	if (sort != SORT_TCP) {
		if (sort == SORT_OBSCURE)
			merger_flush(merger);
		emit_frame(merger, frame, length, 0);
		return;
	}
	right = checksums_right(&segment);
	merge = right && may_merge(&segment);
	place = find_flow(merger, &segment);
	if (place >= 0 && !(merge && continues(&merger->flows[merger->order[place]], &segment))) {
		close_flow(merger, place);
		place = -1;
	}
	if (!merge || (place < 0 && frame[segment.transport + TCP_OFFSET + 1] & TCP_PSH)) {
		emit_frame(merger, frame, length, right);
		return;
	}
	if (place < 0) {
		open_flow(merger, &segment);
		return;
	}
	flow = &merger->flows[merger->order[place]];
	append(flow, &segment);
	if (flow->pushed || segment.end - segment.headers < flow->payload_size)
		close_flow(merger, place);
}

void merger_flush(struct merger *merger)
{
	while (merger->used)
		close_flow(merger, 0);
}
