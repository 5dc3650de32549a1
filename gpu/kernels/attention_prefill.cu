// Attention of large tiles on Hopper: 128 packed rows of a request and a head of keys against its positions, POSITIONS at a time.
//
// A block has two consumer warpgroups with 64 of the rows each, and four producer warps. The first two producers copy keys, the
// others values, each of every second run; so up to four loads are on their way, and a warp that waits for its own holds up no
// other. Keys and values have STAGES slots each, with a barrier that says "full" and one that says "empty". The list of tiles is
// gone through without a break: the first keys and values of a tile are copied while the one before is finished.
//
// A consumer multiplies its queries by the keys of a run before it weighs the scores of that run, and adds the values of the run
// before meanwhile; and the two take turns in asking for products, so that one weighs while the other's are computed.
//
// D: elements of a head. POSITIONS: of a run, 64 or 128. STAGES: slots of keys and of values. The header variant.cuh has what
// becomes of scores.
#include "attention.cuh"

#define LARGE 128
#define CONSUMERS 2
#define THREADS ((CONSUMERS + 1) * 128)
// Tiles are boxes of 64 elements of the head: rows of 128 bytes, one for each packed row or position, with the 128-byte swizzle.
#define BOXES ((D + 63) / 64)
#define Q_BOX (LARGE * 128)
#define BOX (POSITIONS * 128)
#define Q_BYTES (BOXES * Q_BOX)
#define TILE_BYTES (BOXES * BOX)
// Results of a warp on their way out: 16 rows of a box.
#define CHUNK_BYTES (16 * 128)
#define KEYS 0
#define VALUES 1

// Where what is in shared memory. Runs are counted over all tiles of the block; run n is in slot n % STAGES.
struct Block {
    u32 queries;
    DEVICE u32 tile(int operand, u32 n) const { return queries + Q_BYTES + (operand * STAGES + n % STAGES) * TILE_BYTES; }
    DEVICE u32 chunk(int warp) const { return tile(2, 0) + warp * CHUNK_BYTES; }
    DEVICE u32 full(int operand, u32 n) const { return chunk(CONSUMERS * 4) + (operand * STAGES + n % STAGES) * 16; }
    DEVICE u32 empty(int operand, u32 n) const { return full(operand, n) + 8; }
    DEVICE u32 queries_full() const { return full(2, 0); }
    DEVICE u32 queries_empty() const { return empty(2, 0); }
};

// The phase of the barriers of run n's slot.
DEVICE u32 phase_of(u32 n) { return n / STAGES & 1; }

DEVICE int runs_of(const Item& item) { return ceil_div(item.end - item.begin, POSITIONS); }

// --- Producers ---

// Begins to copy 32 rows, the line of each of which a lane has, to rows of boxes of `box` bytes. A line below 0 becomes zeros. Eight
// rows are a turn of the loop, since the permutation is that of the next eight, and where a lane's pieces go is computed once.
DEVICE void gather(u32 to, int box, const u16* from, int line, int stride) {
    const int lane = lane_id();
    const u32 bytes = (u32)stride * 2;
#pragma unroll 1
    for (int eight = 0; eight < 32; eight += 8) {
#pragma unroll(32 % PIECES == 0 && PIECES >= 8 ? PIECES / 4 : 1)
        for (int i = 0; i < ceil_div(8 * PIECES, 32); i++) {
            const int at = i * 32 + lane, row = at / PIECES, piece = at % PIECES;
            const int source = __shfl_sync(FULL_WARP, line, eight + row);
            if (8 * PIECES % 32 == 0 || row < 8) {
                const u8* address = (const u8*)from + piece * 16 + (u64)(u32)max_of(source, 0) * bytes;
                cp_async_16(to + piece / 8 * box + row * 128 + ((piece % 8 ^ row % 8) << 4), address, source < 0 ? 0 : 16);
            }
        }
        to += 8 * 128;
    }
}

// Waits for this warp's copies and says that they are there. cp.async writes through the generic proxy and wgmma reads through
// the async one, so that a fence has to stand between the two, behind the end of the copies. Each lane knows of its own alone:
// it waits for them and fences them, and one lane arrives once all have. With cp.async.mbarrier.arrive.noinc there is no place
// for the fence here, as the barrier would complete by itself; consumers would have to fence behind each wait, between two
// products, where nothing hides it. To a producer the wait costs nothing, for the next loads are other warps'.
DEVICE void announce(u32 full) {
    cp_async_commit();
    cp_async_wait<0>();
    fence_proxy_async();
    __syncwarp();
    if (elect_one()) mbarrier_arrive(full);
}

// Copies the keys or the values of a run. Where positions follow each other and all of the run's are seen, TMA does; boxes wider
// than the head are filled with zeros. Elsewhere lanes copy lines, and what lies behind the end becomes zeros: it weighs nothing,
// but a product of nothing and of what may be no number would be none.
DEVICE void load_run(const Parameters& p, const TensorMap* map, const Block& block, int operand, const Request& r,
                     const Item& item, int run, u32 n) {
    const int position = item.begin + run * POSITIONS, lane = lane_id();
    const bool mapped = p.table == nullptr && position + POSITIONS <= item.end;
    // Entries of the table are fetched while the slot is still in use.
    int line = -1;
    if (!mapped && position + lane < item.end) line = line_of(p, r, position + lane);
    const u32 to = block.tile(operand, n), full = block.full(operand, n);
    mbarrier_wait(block.empty(operand, n), phase_of(n) ^ 1);
    if (mapped) {
        if (elect_one()) {
            mbarrier_expect_tx(full, TILE_BYTES);
#pragma unroll
            for (int box = 0; box < BOXES; box++) {
                tma_load_3d(to + box * BOX, map, box * 64, item.head, r.first + position, full);
            }
        }
        return;
    }
    const u16* from = (operand == KEYS ? p.k : p.v) + item.head * D;
#pragma unroll 1
    for (int row = 0; row < POSITIONS; row += 32) {
        const int next = position + row + 32 + lane;
        const int next_line = row + 32 < POSITIONS && next < item.end ? line_of(p, r, next) : -1;
        gather(to + row * 128, BOX, from, line, p.line);
        line = next_line;
    }
    announce(full);
}

DEVICE void produce(const Parameters& p, const TensorMap* map, const Block& block, int operand, int warp) {
    // Runs and tiles of queries so far.
    u32 before = 0, tiles = 0;
    for (int number = p.lists[blockIdx.x]; number < p.lists[blockIdx.x + 1]; number++) {
        const Item item = item_of(p, number);
        const int runs = runs_of(item);
        if (runs == 0) continue;
        const Request r = request_of(p, item.request);
        // The slots are free before the queries' place is, which the tile before uses until its last run.
        bool queries = true;
#pragma unroll 1
        for (int run = (warp ^ before) & 1; queries || run < runs; run += 2) {
            if (run < runs) load_run(p, map, block, operand, r, item, run, before + run);
            if (queries) {
                const int at = warp * 32 + lane_id();
                const Row row = row_of(p, r, item, at);
                mbarrier_wait(block.queries_empty(), tiles & 1 ^ 1);
                gather(block.queries + warp * 32 * 128, Q_BOX, p.q, at < item.count ? result_row(p, r, row) : -1, D);
                announce(block.queries_full());
                queries = false;
            }
        }
        before += runs;
        tiles++;
    }
}

// --- Consumers ---

template <int N>
DEVICE float (&flat(float (&x)[N][4]))[N * 4] {
    return reinterpret_cast<float (&)[N * 4]>(x);
}

// The values of 16 positions: the sum is the outer axis, eight rows of which are 1024 bytes, and a box the next 64 columns.
DEVICE u64 values_descriptor(u32 address) {
    return (u64)((address & 0x3ffff) >> 4) | (u64)(BOX >> 4) << 16 | (u64)(1024 >> 4) << 32 | (u64)1 << 62;
}

// A warp has read a slot, or the queries.
DEVICE void release(u32 empty) {
    if (elect_one()) mbarrier_arrive(empty);
}

// Consumers ask for products in turns.
DEVICE void take_turn(int consumer) { named_barrier(1 + consumer, CONSUMERS * 128); }
DEVICE void give_turn(int consumer) { named_barrier_arrive(2 - consumer, CONSUMERS * 128); }

// Asks for the scores of a run.
DEVICE void ask_scores(float (&s)[POSITIONS / 8][4], u32 queries, u32 keys) {
#pragma unroll
    for (int i = 0; i < D / 16; i++) {
        u64 a = wgmma_descriptor(queries + i / 4 * Q_BOX + i % 4 * 32), b = wgmma_descriptor(keys + i / 4 * BOX + i % 4 * 32);
        wgmma_bf16<0>(flat(s), a, b, i > 0);
    }
    wgmma_commit();
}

// Asks for the weighted values of a run to be added.
DEVICE void ask_values(float (&o)[BOXES * 8][4], const u32 (&weights)[POSITIONS / 16][4], u32 values) {
#pragma unroll
    for (int i = 0; i < POSITIONS / 16; i++) wgmma_bf16_rs<1>(flat(o), weights[i], values_descriptor(values + i * 16 * 128), true);
    wgmma_commit();
}

// Rows of a warp wait in its chunk, since there are no registers to keep them in, until results overwrite them.
DEVICE void keep_rows(const Parameters& p, const Request& r, const Item& item, u32 chunk, int warp) {
    // All lanes have read the results that were there.
    __syncwarp();
    if (lane_id() < 16) {
        const Row row = row_of(p, r, item, warp * 16 + lane_id());
        store_shared_16(chunk + lane_id() * 16, make_uint4(row.row, row.head, row.begin, row.end));
    }
    __syncwarp();
}

// One of the two of this thread.
DEVICE Row kept_row(u32 chunk, int half) {
    const uint4 row = load_shared_16(chunk + (lane_id() / 4 + half * 8) * 16);
    return {(int)row.x, (int)row.y, (int)row.z, (int)row.w};
}

// The place behind a warp's rows where a thread keeps the sums of weights of its two.
DEVICE u32 totals_of(u32 chunk) { return chunk + 256 + lane_id() * 8; }
DEVICE void put_totals(u32 chunk, const float (&total)[2]) {
    asm volatile("st.shared.v2.f32 [%0], {%1, %2};" :: "r"(totals_of(chunk)), "f"(total[0]), "f"(total[1]) : "memory");
}
DEVICE void get_totals(u32 chunk, float (&total)[2]) {
    asm volatile("ld.shared.v2.f32 {%0, %1}, [%2];" : "=f"(total[0]), "=f"(total[1]) : "r"(totals_of(chunk)) : "memory");
}

// Scores become weights. `factor` is what earlier sums have to be multiplied by. The sums of weights are in shared memory not
// for their registers alone: the assembler moves a wait for products up past all arithmetic that does not need them, but not past
// a store; and it is behind the last weight that the values of the run before are waited for.
DEVICE void soften(const Parameters& p, const Request& r, u32 chunk, int position, bool whole, float (&s)[POSITIONS / 8][4],
                   float (&largest)[2], float (&factor)[2]) {
    auto row_at = [=](int half) { return kept_row(chunk, half); };
    const float unit = transform(p, r, row_at, position + lane_id() % 4 * 2, whole, s);
    float total[2];
    get_totals(chunk, total);
    weigh(s, unit, largest, total, factor);
    put_totals(chunk, total);
}

// Accumulators of two times eight positions are the left operand of a product over 16: the weights rounded, or cut off, or what is
// left of them then.
enum Part { ROUNDED, FIRST, REST };

template <Part PART>
DEVICE void pack(const float (&s)[POSITIONS / 8][4], u32 (&weights)[POSITIONS / 16][4]) {
#pragma unroll
    for (int i = 0; i < POSITIONS / 16; i++) {
#pragma unroll
        for (int j = 0; j < 4; j++) {
            const float x = s[i * 2 + j / 2][j % 2 * 2], y = s[i * 2 + j / 2][j % 2 * 2 + 1];
            weights[i][j] = PART == ROUNDED ? pack_bf16(x, y) : PART == FIRST ? cut_bf16(x, y) : rest_bf16(x, y);
        }
    }
}

// Nothing of it moves across.
DEVICE void hold(u32 (&weights)[POSITIONS / 16][4]) {
#pragma unroll
    for (int i = 0; i < POSITIONS / 16; i++) {
#pragma unroll
        for (int j = 0; j < 4; j++) asm volatile("" : "+r"(weights[i][j]) :: "memory");
    }
}

// Adds the weighted values of a run, and waits for the sum.
DEVICE void add_values(float (&o)[BOXES * 8][4], u32 (&weights)[POSITIONS / 16][4], u32 values) {
    wgmma_hold(flat(o));
    hold(weights);
    wgmma_fence();
    ask_values(o, weights, values);
    wgmma_wait<0>();
    wgmma_hold(flat(o));
    hold(weights);
}

// The weights of a run as the operand of the next product. Where rows see some of the run's positions alone, they may see few at all,
// and the errors of few rounded weights do not make up for each other: what cutting the weights off leaves is added at once.
DEVICE void settle(const Block& block, u32 n, bool whole, const float (&s)[POSITIONS / 8][4], u32 (&weights)[POSITIONS / 16][4],
                   float (&o)[BOXES * 8][4]) {
    if (whole && !VARIANT_KEEP) {
        pack<ROUNDED>(s, weights);
        return;
    }
    pack<REST>(s, weights);
    mbarrier_wait(block.full(VALUES, n), phase_of(n));
    add_values(o, weights, block.tile(VALUES, n));
    pack<FIRST>(s, weights);
}

// A run that no row of this consumer sees.
DEVICE void pass(const Block& block, int consumer, u32 n) {
    take_turn(consumer);
    give_turn(consumer);
#pragma unroll
    for (int operand = KEYS; operand <= VALUES; operand++) {
        // Without the wait, a consumer could be a whole round of the slots ahead, and its arrivals be counted for the wrong run.
        mbarrier_wait(block.full(operand, n), phase_of(n));
        release(block.empty(operand, n));
    }
}

// Writes the results of a warp's rows. `places` are those of this thread's two rows among all, -1 for none.
DEVICE void put_rows(const Parameters& p, u32 chunk, const int (&places)[2], const float (&o)[BOXES * 8][4]) {
    const int lane = lane_id(), own = lane % 16;
#pragma unroll
    for (int box = 0; box < BOXES; box++) {
        // Other lanes have read the chunk before.
        __syncwarp();
#pragma unroll
        for (int j = 0; j < 8; j += 2) {
            // Lane l gives the address of row l % 8 of the matrix l / 8: two halves of the rows, two of the columns.
            const float(&x)[4] = o[box * 8 + j], (&y)[4] = o[box * 8 + j + 1];
            stmatrix_x4(chunk + own * 128 + ((j + lane / 16 ^ own % 8) << 4), pack_bf16(x[0], x[1]), pack_bf16(x[2], x[3]),
                        pack_bf16(y[0], y[1]), pack_bf16(y[2], y[3]));
        }
        __syncwarp();
        // Eight lanes write 128 bytes of a row.
#pragma unroll
        for (int i = 0; i < 4; i++) {
            const int row = i * 4 + lane / 8, piece = lane % 8;
            const int place = __shfl_sync(FULL_WARP, places[i / 2], row % 8 * 4);
            const uint4 x = load_shared_16(chunk + row * 128 + ((piece ^ row % 8) << 4));
            if (place >= 0 && box * 64 + piece * 8 < D) *(uint4*)(p.o + (size_t)place * D + box * 64 + piece * 8) = x;
        }
    }
}

// Writes the results of a consumer's tile. What is known of the tile is read again: through all of its runs there are no registers
// to keep it in.
DEVICE void put_tile(const Parameters& p, const Block& block, int warp, int number, const float (&largest)[2], float (&o)[BOXES * 8][4]) {
    asm volatile("" : "+r"(number));
    const Item item = item_of(p, number);
    const Request r = request_of(p, item.request);
    const int lane = lane_id(), at = warp * 16 + lane / 4;
    const Row rows[2] = {kept_row(block.chunk(warp), 0), kept_row(block.chunk(warp), 1)};
    float total[2];
    get_totals(block.chunk(warp), total);
    int places[2];
#pragma unroll
    for (int half = 0; half < 2; half++) {
        float sum = total[half];
        sum += shuffle_xor(sum, 1);
        sum += shuffle_xor(sum, 2);
        const float inverse = VARIANT_SOFTMAX ? (sum == 0.0f ? 0.0f : 1.0f / sum) : 1.0f;
#pragma unroll
        for (int j = 0; j < BOXES * 8; j++) {
            o[j][half * 2] *= inverse;
            o[j][half * 2 + 1] *= inverse;
        }
        const int own = at + half * 8;
        places[half] = own < item.count ? result_row(p, r, rows[half]) : -1;
        if (own < item.count && lane % 4 == 0) put_lse(p, item, r, rows[half], own, log_sum(largest[half], sum));
    }
    if (item.partial < 0) {
        put_rows(p, block.chunk(warp), places, o);
    } else {
#pragma unroll
        for (int half = 0; half < 2; half++) {
            const int own = at + half * 8;
            if (own < item.count) {
#pragma unroll
                for (int j = 0; j < D / 8; j++) {
                    put_pair(p, item, own, 0, j * 8 + lane % 4 * 2, o[j][half * 2], o[j][half * 2 + 1]);
                }
            }
        }
    }
}

DEVICE void consume(const Parameters& p, const Block& block, int warp) {
    const int consumer = warp / 4;
    const u32 queries = block.queries + consumer * 64 * 128, chunk = block.chunk(warp);
    float s[POSITIONS / 8][4] = {};
    u32 weights[POSITIONS / 16][4] = {};
    u32 before = 0, tiles = 0;
    // The first one begins.
    if (consumer == 1) give_turn(consumer);
#pragma unroll 1
    for (int number = p.lists[blockIdx.x]; number < p.lists[blockIdx.x + 1]; number++) {
        const Item item = item_of(p, number);
        const Request r = request_of(p, item.request);
        const int runs = runs_of(item);
        keep_rows(p, r, item, chunk, warp);
        float o[BOXES * 8][4] = {};
        float largest[2] = {-INF, -INF};
        const float nothing[2] = {0.0f, 0.0f};
        put_totals(chunk, nothing);

        // The runs that some row of this consumer sees: rows that come later see no less at either end.
        int low = runs, high = runs;
        // The positions that all of them see.
        int all_begin = 0, all_end = 0;
        const int top = consumer * 64, bottom = min_of(top + 64, item.count) - 1;
        if (bottom >= top) {
            const Row first = row_of(p, r, item, top), last = row_of(p, r, item, bottom);
            low = min_of((first.begin - item.begin) / POSITIONS, runs);
            high = max_of(ceil_div(last.end - item.begin, POSITIONS), low);
            all_begin = last.begin;
            all_end = first.end;
        }
        auto sees_all = [&](int position) { return position >= all_begin && position + POSITIONS <= all_end; };
        if (runs > 0) mbarrier_wait(block.queries_full(), tiles & 1);
        if (runs > 0 && low == high) release(block.queries_empty());

        for (int run = 0; run < low; run++) pass(block, consumer, before + run);
        if (low < high) {
            float factor[2];
            bool whole;
            u32 n = before + low;
            int position = item.begin + low * POSITIONS;
            mbarrier_wait(block.full(KEYS, n), phase_of(n));
            take_turn(consumer);
            wgmma_hold(flat(s));
            wgmma_fence();
            ask_scores(s, queries, block.tile(KEYS, n));
            give_turn(consumer);
            wgmma_wait<0>();
            wgmma_hold(flat(s));
            release(block.empty(KEYS, n));
            if (low + 1 == high) release(block.queries_empty());
            // There are no earlier sums.
            whole = sees_all(position);
            soften(p, r, chunk, position, whole, s, largest, factor);
            settle(block, n, whole, s, weights, o);
#pragma unroll 1
            while (++n < before + high) {
                position += POSITIONS;
                mbarrier_wait(block.full(KEYS, n), phase_of(n));
                take_turn(consumer);
                wgmma_hold(flat(s));
                wgmma_hold(flat(o));
                hold(weights);
                wgmma_fence();
                ask_scores(s, queries, block.tile(KEYS, n));
                mbarrier_wait(block.full(VALUES, n - 1), phase_of(n - 1));
                ask_values(o, weights, block.tile(VALUES, n - 1));
                give_turn(consumer);
                // The scores are there; the values of the run before may still be added.
                wgmma_wait<1>();
                wgmma_hold(flat(s));
                release(block.empty(KEYS, n));
                if (n + 1 == before + high) release(block.queries_empty());
                whole = sees_all(position);
                soften(p, r, chunk, position, whole, s, largest, factor);
                wgmma_wait<0>();
                wgmma_hold(flat(o));
                hold(weights);
                release(block.empty(VALUES, n - 1));
                if (__any_sync(FULL_WARP, factor[0] != 1.0f || factor[1] != 1.0f)) {
#pragma unroll
                    for (int j = 0; j < BOXES * 8; j++) {
#pragma unroll
                        for (int i = 0; i < 4; i++) o[j][i] *= factor[i / 2];
                    }
                }
                settle(block, n, whole, s, weights, o);
            }
            n = before + high - 1;
            mbarrier_wait(block.full(VALUES, n), phase_of(n));
            add_values(o, weights, block.tile(VALUES, n));
            release(block.empty(VALUES, n));
        }
        for (int run = high; run < runs; run++) pass(block, consumer, before + run);
        before += runs;
        tiles += runs > 0;

        put_tile(p, block, warp, number, largest, o);
    }
    // The turn that was given last is taken, so that nothing is left at the barriers.
    if (consumer == 0) take_turn(consumer);
}

extern "C" __global__ void __launch_bounds__(THREADS, 1)
attention_prefill(const __grid_constant__ TensorMap map_k, const __grid_constant__ TensorMap map_v,
                  const __grid_constant__ Parameters p) {
    extern __shared__ u8 dynamic_shared[];
    const Block block = {(shared_address(dynamic_shared) + 1023) & ~1023u};
    const int warp = warp_id();
    if (threadIdx.x == 0) {
        for (int operand = KEYS; operand <= VALUES; operand++) {
            for (u32 n = 0; n < STAGES; n++) {
                mbarrier_init(block.full(operand, n), 1);
                // One arrival of every warp that reads the slot.
                mbarrier_init(block.empty(operand, n), CONSUMERS * 4);
            }
        }
        // Every producer warp brings a quarter of the rows.
        mbarrier_init(block.queries_full(), 4);
        mbarrier_init(block.queries_empty(), CONSUMERS * 4);
        fence_mbarrier_init();
    }
    __syncthreads();
    if (warp >= CONSUMERS * 4) {
        registers_decrease<40>();
        const int producer = warp - CONSUMERS * 4;
        produce(p, producer / 2 == KEYS ? &map_k : &map_v, block, producer / 2, producer);
    } else {
        registers_increase<232>();
        consume(p, block, warp);
    }
}
