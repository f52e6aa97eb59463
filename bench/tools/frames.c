/* How many small frames a second get through, one way.
 *
 *   frames count PORT                                 the receiver: counts, and says how many when asked
 *   frames search ADDRESS PORT BYTES SECONDS          prints one JSON object
 *
 * The search first sends as fast as it can: when that gets through, the sender is the limit, and its rate the result. Else
 * it offers frames at a steady rate for SECONDS / TRIALS, asks the receiver how many came, and narrows down the highest
 * rate at which at most LOSS of them are missing. A rate is given up when it failed twice: a hiccup of the
 * machine is no limit. It ends when the bounds are CLOSE or the time is over (twice that, while no
 * rate was good). BYTES: of UDP payload.
 *
 * Frames go out in bursts of what is due every TICK, so that a queue of 256 frames is never filled by the pacing itself.
 * A sender that falls behind (it was not scheduled) does not make up for it: the rate that counts is what it sent.
 */
#include "common.h"

#include <math.h>
#include <stddef.h>

#define TICK (50 * MICROSECOND)
#define BURST 64           /* frames given to the kernel at once, and most that a late sender makes up for */
#define TRIALS 12          /* as many fit into the time */
#define LOSS 0.01
#define CLOSE 1.04         /* of the bounds, one by the other */
#define KEPT_UP 0.95       /* a sender that reached less of the rate is itself the limit */
#define QUEUED 1.05        /* receiving takes as long as sending; a queue in between would make a high rate look good */
#define SLACK (10 * MILLISECOND)
#define NAP (100 * MICROSECOND)
#define AWAKE (20 * MILLISECOND)
#define SETTLE (50 * MILLISECOND)
#define PATIENCE (1500 * MILLISECOND) /* for an answer of the receiver, behind everything that is still queued */
#define FIRST_RATE 2000.0

enum { DATA = 0x6f6d0001, QUESTION, ANSWER };

struct message {
	uint32_t kind;
	uint32_t trial; /* grows */
	uint64_t count;
	int64_t duration; /* between the first and the last that came, as the receiver's clock says */
};

#define SMALLEST offsetof(struct message, count)

struct trial {
	uint64_t sent, received;
	double elapsed;  /* s, of sending */
	double duration; /* s, of receiving */
	int complete;    /* the sender kept up */
};

/* It looks every NAP while frames come: waking it for each would cost more than carrying the frame. */
static void count(const char *port)
{
	static char data[BURST][LARGEST];
	struct sockaddr_in6 senders[BURST];
	struct mmsghdr messages[BURST];
	struct iovec parts[BURST];
	struct message found, answer = {.kind = ANSWER};
	int s = udp_server(port), room = 8 << 20;
	int64_t first = 0, last = 0, time = 0;

	/* Whether a frame got through is the question, not whether this process was scheduled at once. */
	if (setsockopt(s, SOL_SOCKET, SO_RCVBUFFORCE, &room, sizeof(room)))
		die("receive buffer");
	sleep_precisely();
	for (;;) {
		for (int i = 0; i < BURST; i++) {
			parts[i] = (struct iovec){data[i], sizeof(data[i])};
			messages[i].msg_hdr = (struct msghdr){
				.msg_name = &senders[i], .msg_namelen = sizeof(senders[i]), .msg_iov = &parts[i], .msg_iovlen = 1};
		}
		int n = recvmmsg(s, messages, BURST, time < last + AWAKE ? MSG_DONTWAIT : MSG_WAITFORONE, NULL);
		time = now();
		if (n > 0)
			last = time;
		for (int i = 0; i < n; i++) {
			if (messages[i].msg_len < SMALLEST)
				continue;
			memcpy(&found, data[i], SMALLEST);
			if ((int32_t)(found.trial - answer.trial) > 0) {
				answer = (struct message){.kind = ANSWER, .trial = found.trial};
				first = time;
			}
			if (found.kind == DATA && found.trial == answer.trial) {
				answer.count++;
				answer.duration = time - first;
			} else if (found.kind == QUESTION) {
				(void)!sendto(s, &answer, sizeof(answer), 0, (struct sockaddr *)&senders[i],
					      messages[i].msg_hdr.msg_namelen);
			}
		}
		if (n < BURST)
			sleep_until(now() + NAP);
	}
}

/* Asks what came until two answers, SETTLE apart, agree; or all came. */
static void ask(int s, uint32_t number, struct trial *trial)
{
	struct message question = {.kind = QUESTION, .trial = number}, answer;
	int heard = 0;
	for (int64_t end = now() + PATIENCE; now() < end;) {
		(void)!send(s, &question, sizeof(question), 0);
		if (!readable(s, SETTLE) || recv(s, &answer, sizeof(answer), 0) != sizeof(answer))
			continue;
		if (answer.kind != ANSWER || answer.trial != number)
			continue;
		int same = heard && answer.count == trial->received;
		trial->received = answer.count;
		trial->duration = (double)answer.duration / SECOND;
		if (same || trial->received >= trial->sent)
			return;
		heard = 1;
		sleep_until(now() + SETTLE);
	}
}

/* `rate` per second; INFINITY: as fast as this process can. */
static struct trial offer(int s, size_t size, double rate, double seconds)
{
	static uint32_t number;
	char data[LARGEST] = {0};
	struct iovec part = {data, size};
	struct mmsghdr messages[BURST];
	struct trial trial = {0};

	if (!number)
		number = (uint32_t)(now() / MILLISECOND); /* later than that of an earlier process */
	struct message head = {.kind = DATA, .trial = ++number};
	memcpy(data, &head, SMALLEST);
	for (int i = 0; i < BURST; i++)
		messages[i] = (struct mmsghdr){.msg_hdr = {.msg_iov = &part, .msg_iovlen = 1}};

	int64_t begin = now(), end = begin + (int64_t)(seconds * SECOND), time;
	double due, forgiven = 0;
	while ((time = now()) < end) {
		due = rate == INFINITY ? (double)trial.sent + BURST : rate * (double)(time - begin) / SECOND - forgiven;
		double behind = due - (double)trial.sent;
		if (behind < 1) {
			sleep_until(time + TICK);
			continue;
		}
		if (behind > BURST) {
			forgiven += behind - BURST;
			behind = BURST;
		}
		int n = sendmmsg(s, messages, (unsigned)behind, 0);
		trial.sent += n > 0 ? (unsigned)n : 1; /* a frame that the kernel refuses is a lost one */
	}
	trial.elapsed = (double)(time - begin) / SECOND;
	trial.complete = rate == INFINITY || (double)trial.sent >= KEPT_UP * rate * trial.elapsed;
	ask(s, number, &trial);
	return trial;
}

/* Few lost, and those that came were not waiting in a queue until the sender was done. */
static int passed(const struct trial *trial)
{
	return (double)trial->received >= (1 - LOSS) * (double)trial->sent &&
	       trial->duration <= QUEUED * trial->elapsed + (double)SLACK / SECOND;
}

static double rate_of(const struct trial *trial)
{
	return (double)trial->received / fmax(fmax(trial->elapsed, trial->duration), 1e-9);
}

static double loss_of(const struct trial *trial)
{
	return trial->sent ? 1 - (double)trial->received / (double)trial->sent : 0;
}

static void search(const char *address, const char *port, size_t size, double seconds)
{
	int s = udp_client(address, port), trials = 1;
	double each = seconds / TRIALS, good = 0, bad = INFINITY;
	int64_t end = now() + (int64_t)(seconds * SECOND), last = end + (end - now());

	if (size < SMALLEST || size > LARGEST)
		die("BYTES");
	sleep_precisely();
	struct trial flood = offer(s, size, INFINITY, each), trial, best = {0};
	double rate = fmax(rate_of(&flood), FIRST_RATE);
	if (passed(&flood)) {
		best = flood; /* all that it can send gets through */
		good = bad = rate;
	}
	while (now() < (good > 0 ? end : last) && bad / fmax(good, 1) > CLOSE) {
		for (int attempt = 0; attempt < 2 && now() < last; attempt++, trials++) {
			trial = offer(s, size, rate, each);
			if (passed(&trial) && trial.complete)
				break;
		}
		if (passed(&trial)) {
			good = rate;
			if (rate_of(&trial) > rate_of(&best))
				best = trial;
		}
		if (!passed(&trial) || !trial.complete)
			bad = fmin(bad, rate);
		rate = bad == INFINITY ? rate * 1.4 : good == 0 ? rate / 1.6 : sqrt(good * bad);
	}
	printf("{\"frames_per_s\": %.0f, \"loss\": %.5f, \"flood_received_per_s\": %.0f, \"flood_loss\": %.5f, "
	       "\"trials\": %d}\n",
	       rate_of(&best), loss_of(&best), rate_of(&flood), loss_of(&flood), trials);
}

int main(int argc, char **argv)
{
	if (argc == 3 && !strcmp(argv[1], "count"))
		count(argv[2]);
	if (argc != 6 || strcmp(argv[1], "search"))
		die("usage: see the top of frames.c");
	search(argv[2], argv[3], (size_t)atoi(argv[4]), atof(argv[5]));
	return 0;
}
