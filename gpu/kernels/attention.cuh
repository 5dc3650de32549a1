// What the kernels of attention share: their parameters, requests and items as the plan lays them out, variants, and the step
// from scores to weights.
//
// Rows of a request and the heads of queries that share a head of keys are packed: packed row p is row p / group, head p % group.
// A line is the keys, or the values, of one position, all heads. Softmax runs to base 2.
#pragma once
#include "prelude.cuh"

// A row of keys or values in shared memory: whole groups of eight 16-byte pieces, so that pieces can be permuted within them.
#define ROW_BYTES ((D + 63) / 64 * 128)
// 16-byte pieces of a head.
#define PIECES (D / 8)

struct VariantOperands {
    float scalars[4];
    const void* operands[3];
    DEVICE const float* f32s(int i) const { return (const float*)operands[i]; }
    DEVICE const i32* i32s(int i) const { return (const i32*)operands[i]; }
    DEVICE const u8* bytes(int i) const { return (const u8*)operands[i]; }
};

// Where a score stands.
struct At {
    int request, row, rows, position, positions, head, mask;
    // The position that the row itself stands at; rows are aligned to the end.
    DEVICE int place() const { return positions + row - rows; }
};

// The functions of the variant, as it was compiled for.
#include "variant.cuh"

struct Parameters {
    const u16* q;
    // Numbers, or codes of four bits, two a byte.
    const u16* k;
    const u16* v;
    // Of codes: a scale and a zero, in one word, for each head of a line.
    const u32* k_scales;
    const u32* v_scales;
    // The page of every entry; null where positions of a request follow each other line by line.
    const i32* table;
    const i32* requests;
    // Where the items of each block begin, and the end.
    const i32* lists;
    const i32* items;
    u16* o;
    float* lse;
    // States that are merged later.
    float* partial_o;
    float* partial_lse;
    float scale;
    int q_heads, group;
    // Elements of a line; positions of a page; lines from a page to the next.
    int line, page, page_lines;
    VariantOperands variant;
};

struct Request {
    int number, first_row, rows, positions, first, mask, causal, window;
};

struct Item {
    int request, head, packed, count, begin, end, partial;
};

DEVICE Item item_of(const Parameters& p, int number) {
    const int4* from = (const int4*)p.items + (size_t)number * 2;
    int4 a = from[0], b = from[1];
    return {a.x, a.y, a.z, a.w, b.x, b.y, b.z};
}

DEVICE Request request_of(const Parameters& p, int number) {
    const int4* from = (const int4*)p.requests + (size_t)number * 2;
    int4 a = from[0], b = from[1];
    return {number, a.x, a.y, a.z, a.w, b.x, b.y, b.z};
}

// The line of a request's position.
DEVICE int line_of(const Parameters& p, const Request& r, int position) {
    if (p.table == nullptr) return r.first + position;
    u32 entry = (u32)position / (u32)p.page;
    return p.table[r.first + (int)entry] * p.page_lines + (position - (int)entry * p.page);
}

// A packed row of a tile, with the positions of the item that it sees by its place: none where the tile has no such row.
struct alignas(16) Row {
    int row, head, begin, end;
};

DEVICE Row row_of(const Parameters& p, const Request& r, const Item& item, int at) {
    Row row;
    u32 packed = item.packed + at;
    row.row = (int)(packed / (u32)p.group);
    row.head = item.head * p.group + (int)packed - row.row * p.group;
    // How many positions end with the row's own.
    int upto = max_of(r.positions + row.row + 1 - r.rows, 0);
    row.end = min_of(r.causal ? upto : r.positions, item.end);
    row.begin = max_of(upto - r.window, item.begin);
    if (at >= item.count) row.end = row.begin;
    return row;
}

// The place of a row of a head among those of the queries and of the results, which is within 31 bits.
DEVICE int result_row(const Parameters& p, const Request& r, const Row& row) {
    return (r.first_row + row.row) * p.q_heads + row.head;
}
// The positions that two rows of a tile, at `at` and 8 below, both see. What becomes of rows that there are not does not matter.
struct Seen {
    int begin, end;
};

DEVICE Seen seen_by_both(const Row& first, const Row& second, int at, int count) {
    Seen seen = {0, 0x7fffffff};
    if (at < count) seen = {first.begin, first.end};
    if (at + 8 < count) seen = {max_of(seen.begin, second.begin), min_of(seen.end, second.end)};
    return seen;
}

// The element where it begins.
DEVICE size_t element_of(const Parameters& p, const Request& r, const Row& row) { return (size_t)result_row(p, r, row) * D; }

// The address of a 16-byte piece of a row, permuted so that eight rows' pieces of one number lie in different banks.
DEVICE u32 piece_address(u32 tile, int row, int piece) { return tile + row * ROW_BYTES + ((piece ^ (row & 7)) << 4); }

// A thread has pairs of neighbouring positions from `position` on, eight apart: a bit for each that is below `end`.
template <int N>
DEVICE u32 bits_below(int position, int end) {
    static_assert(N <= 16, "there are more positions than bits");
    const int within = min_of(max_of(end - position, 0), N * 8), count = within / 8 * 2 + min_of(within % 8, 2);
    return count == 32 ? ~0u : (1u << count) - 1;
}

// Scores of sums of products. Positions from `position` on stand two beside each other in s[j][0..1] for the first row, which is
// row_at(0), and in s[j][2..3] for the second, every j 8 further. `whole`: both rows see all of these positions. Returns by how
// much a score is to be multiplied for it to be a power of two's exponent; never less than 0, so that scores can be compared before.
template <class RowAt, int N>
DEVICE float transform(const Parameters& p, const Request& r, RowAt row_at, int position, bool whole, float (&s)[N][4]) {
    // Without a function of the variant's, the factor of scores is left to the one multiplication that `weigh` has.
    const bool plain = VARIANT_SOFTMAX && !VARIANT_LOGIT && p.scale > 0.0f;
    if (plain && !VARIANT_KEEP && whole) return p.scale * LOG2_E;
#pragma unroll
    for (int half = 0; half < 2; half++) {
        const Row row = row_at(half);
        At at = {r.number, row.row, r.rows, 0, r.positions, row.head, r.mask};
        if (!plain) {
#pragma unroll
            for (int i = 0; i < 2 * N; i++) {
                float& x = s[i / 2][half * 2 + i % 2];
                at.position = position + i / 2 * 8 + i % 2;
                x = variant_logit(p.variant, at, x * p.scale);
            }
        }
        if (!VARIANT_KEEP && whole) continue;
        u32 seen = bits_below<N>(position, row.end) & ~bits_below<N>(position, row.begin);
        if (VARIANT_KEEP) {
            // A mask has no bit for positions and rows that there are not. The loop is rolled up, since all that it reads at once
            // would leave no registers.
#pragma unroll 1
            for (int i = 0; i < 2 * N; i++) {
                at.position = position + i / 2 * 8 + i % 2;
                if ((seen >> i & 1) && !variant_keep(p.variant, at)) seen &= ~(1u << i);
            }
        }
#pragma unroll
        for (int i = 0; i < 2 * N; i++) {
            float& x = s[i / 2][half * 2 + i % 2];
            x = seen >> i & 1 ? x : (VARIANT_SOFTMAX ? -INF : 0.0f);
        }
    }
    return plain ? p.scale * LOG2_E : LOG2_E;
}

// Makes weights of scores and keeps the largest exponent and the sum of weights of two rows; the sum is of this lane's positions
// alone. `unit` is what `transform` has returned, `factor` what earlier sums have to be multiplied by. A row that has seen nothing
// has -inf as its largest exponent: differences to it are not taken, for they are no numbers.
template <int N>
DEVICE void weigh(float (&s)[N][4], float unit, float (&largest)[2], float (&total)[2], float (&factor)[2]) {
#pragma unroll
    for (int half = 0; half < 2; half++) {
        if (!VARIANT_SOFTMAX) {
            factor[half] = 1.0f;
            continue;
        }
        float most = -INF;
#pragma unroll
        for (int j = 0; j < N; j++) most = fmaxf(most, fmaxf(s[j][half * 2], s[j][half * 2 + 1]));
        most = fmaxf(most, shuffle_xor(most, 1));
        most = fmaxf(most, shuffle_xor(most, 2));
        most = fmaxf(largest[half], most * unit);
        float base = most == -INF ? 0.0f : most;
        factor[half] = exp2_approx(largest[half] - base);
        largest[half] = most;
        float sum = 0.0f;
#pragma unroll
        for (int j = 0; j < N; j++) {
#pragma unroll
            for (int i = half * 2; i < half * 2 + 2; i++) {
                s[j][i] = exp2_approx(fmaf(s[j][i], unit, -base));
                sum += s[j][i];
            }
        }
        total[half] = total[half] * factor[half] + sum;
    }
}

// Two weights as sums of two bfloat16 each. What is left after cutting off is not negative, and where there is a weight it is not
// zero either, for zero times an infinite value would be no number.
DEVICE u32 cut_bf16(float x, float y) { return float_to_bits(x) >> 16 | (float_to_bits(y) & 0xffff0000u); }
DEVICE u32 rest_bf16(float x, float y) {
    auto rest = [](float of) { return of == 0.0f ? 0.0f : fmaxf(of - bits_to_float(float_to_bits(of) & 0xffff0000u), 1e-30f); };
    return pack_bf16(rest(x), rest(y));
}

// The logarithm of a sum of weights that were taken relative to `largest`.
DEVICE float log_sum(float largest, float total) {
    if (!VARIANT_SOFTMAX) return 0.0f;
    if (total == 0.0f) return -INF;
    return log2_approx(total) + (largest == -INF ? 0.0f : largest);
}

// Two neighbouring elements of a result, final or partial.
DEVICE void put_pair(const Parameters& p, const Item& item, int at, size_t element, int column, float x, float y) {
    if (item.partial < 0) {
        *(u32*)(p.o + element + column) = pack_bf16(x, y);
    } else {
        *(float2*)(p.partial_o + (size_t)(item.partial + at) * D + column) = make_float2(x, y);
    }
}

DEVICE void put_lse(const Parameters& p, const Item& item, const Request& r, const Row& row, int at, float lse) {
    if (item.partial < 0) p.lse[result_row(p, r, row)] = lse;
    else p.partial_lse[item.partial + at] = lse;
}
