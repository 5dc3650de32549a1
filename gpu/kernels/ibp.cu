// Invariant bit packing: rows fetched and unpacked, a warp a row.
//
// The packed rows may lie in memory of the host that the device reads by itself, so they are read in whole lines of 128 bytes, each
// of a row's lines once, and no line that the row does not reach into.
//
// BITS: of a word, 32 or 64. STAGED: whether the tables of the columns are copied to shared memory.
#include "prelude.cuh"

#if BITS == 64
typedef u64 Word;
#define STAGES 6
#else
typedef u32 Word;
#define STAGES 5
#endif

// The tables of a column: the bits that it keeps, the values of the others, and what each stage of the network moves.
#define KEEP 0
#define BITVAL 1
#define MOVED 2
#define TABLES (MOVED + STAGES)

#define WARPS 16
#define LINE 128
// Lines of a group, which are waited for together, and groups on their way for a warp.
#define LINES 4
#define GROUPS 2
#define RING (GROUPS * LINES * LINE)
// Columns whose participation the lanes of a warp hold at a time, a word of 32 bits each.
#define CHUNK 1024

DEVICE int ones(u32 word) { return __popc(word); }
DEVICE int ones(u64 word) { return __popcll(word); }

// The tables of all columns, from masks and values.
extern "C" __global__ void __launch_bounds__(256)
ibp_tables(const Word* mask, const Word* bitval, Word* tables, int clusters, int columns) {
    const int all = clusters * columns;
    for (int at = blockIdx.x * 256 + threadIdx.x; at < all; at += gridDim.x * 256) {
        Word* table = tables + (i64)(at / columns) * TABLES * columns + at % columns;
        Word left = ~mask[at], zeros = mask[at] << 1;
        table[KEEP * columns] = left;
        table[BITVAL * columns] = bitval[at];
#pragma unroll
        for (int stage = 0; stage < STAGES; stage++) {
            // Of each bit, whether the zeros below it, counted so far, are odd in this digit.
            Word odd = zeros;
#pragma unroll
            for (int step = 1; step < BITS; step *= 2) odd ^= odd << step;
            const Word moved = odd & left;
            table[(MOVED + stage) * columns] = moved;
            left = (left ^ moved) | (moved >> (1 << stage));
            zeros &= ~odd;
        }
    }
}

// The lines of a chunk's stream on their way into a warp's part of shared memory, in groups, as room becomes free.
struct Lines {
    u32 ring;
    // Of the first line, and behind the last byte that may be read.
    u64 begin, end;
    // Lines, groups asked for, and groups that all lanes may read.
    int count, asked, landed;

    // Asks for the next group, which may be empty, so that groups are counted alike.
    DEVICE void ask() {
        const int line = asked * LINES + lane_id() / 8;
        const u64 from = begin + (u64)line * LINE + lane_id() % 8 * 16;
        if (line < count && from < end) {
            const u32 to = ring + asked % GROUPS * (LINES * LINE) + lane_id() * 16;
            cp_async_16(to, (const void*)from, (u32)(end - from < 16 ? end - from : 16));
        }
        cp_async_commit();
        asked++;
    }
    // Makes all bytes before `byte`, counted from the first line, readable by all lanes.
    DEVICE void land(int byte) {
        const int groups = ceil_div(byte, LINES * LINE);
        if (groups <= landed) return;
        if (asked > groups) cp_async_wait<1>();
        else cp_async_wait<0>();
        __syncwarp();
        landed = groups;
    }
    // Nothing before `byte` is read again: its groups make room for others.
    DEVICE void leave(int byte) {
        while (asked < byte / (LINES * LINE) + GROUPS && asked * LINES < count) {
            __syncwarp();
            ask();
        }
    }
    DEVICE Word word(int byte) const {
        const u32 at = ring + (u32)byte % RING;
#if BITS == 64
        return (u64)load_shared_4(at + 4) << 32 | load_shared_4(at);
#else
        return load_shared_4(at);
#endif
    }
};

DEVICE int warp_total(int x) {
#pragma unroll
    for (int step = 16; step > 0; step >>= 1) x += __shfl_xor_sync(FULL_WARP, x, step);
    return x;
}

// Whether a row is packed, by its bit.
DEVICE bool is_packed(const u32* kept, int row) { return kept[row >> 5] >> (row & 31) & 1; }

extern "C" __global__ void __launch_bounds__(WARPS * 32)
ibp_unpack(const Word* packed, const u32* kept, const Word* tables, const int* cluster, const int* index, Word* out,
           i64 rows, int clusters, int columns, int fetch) {
    extern __shared__ Word dynamic_shared[];
    __shared__ alignas(LINE) u8 rings[WARPS][RING];
#if STAGED
    for (int at = threadIdx.x; at < clusters * TABLES * columns; at += WARPS * 32) dynamic_shared[at] = tables[at];
    __syncthreads();
#endif
    const int lane = lane_id(), warps = gridDim.x * WARPS;
    const u64 end = (u64)(packed + rows * columns);
    // Words of 32 bits that tell participation: a row's words are little-endian, so bit c is bit c % 32 of word c / 32 in any case.
    const int heads = ceil_div(columns, BITS) * (BITS / 32);
    for (int item = blockIdx.x * WARPS + warp_id(); item < fetch; item += warps) {
        const int row = index[item];
        const Word* from = packed + (i64)row * columns;
        Word* to = out + (i64)item * columns;
        if (!is_packed(kept, row)) {
#pragma unroll 4
            for (int column = lane; column < columns; column += 32) to[column] = from[column];
            continue;
        }
        const Word* table = (STAGED ? dynamic_shared : tables) + (i64)cluster[row] * TABLES * columns;
        const u32* head = (const u32*)from;
        // Bits of the stream that earlier chunks took.
        int begin = 0;
        for (int chunk = 0; chunk < columns; chunk += CHUNK) {
            const int at = chunk / 32 + lane;
            const u32 participation = at < heads ? head[at] : 0;
            const int last = min_of(columns, chunk + CHUNK);
            // How long the chunk's part of the stream is, so that no line behind it is asked for.
            int bits = 0;
            for (int first = chunk; first < last; first += 32) {
                const u32 all = __shfl_sync(FULL_WARP, participation, (first - chunk) / 32);
                const int column = first + lane;
                if (column < last) bits += all >> lane & 1 ? ones(table[KEEP * columns + column]) : BITS;
            }
            bits = warp_total(bits);
            // Words that the part lies in, from the first line on.
            const u64 stream = (u64)(head + heads) + begin / BITS * (BITS / 8);
            const u64 line = stream & ~(u64)(LINE - 1);
            const int offset = (int)(stream - line), skip = begin % BITS;
            const int bytes = offset + ceil_div(skip + bits, BITS) * (BITS / 8);
            Lines lines = {shared_address(rings[threadIdx.x / 32]), line, end, ceil_div(bytes, LINE), 0, 0};
            __syncwarp();
            for (int group = 0; group < GROUPS; group++) lines.ask();
            int place = skip;
            for (int first = chunk; first < last; first += 32) {
                const u32 all = __shfl_sync(FULL_WARP, participation, (first - chunk) / 32);
                const int column = first + lane;
                const bool inside = column < last, participates = all >> lane & 1;
                const Word keep = inside ? table[KEEP * columns + column] : 0;
                const int width = inside ? participates ? ones(keep) : BITS : 0;
                int behind = width;
#pragma unroll
                for (int step = 1; step < 32; step *= 2) {
                    const int before = __shfl_up_sync(FULL_WARP, behind, step);
                    if (lane >= step) behind += before;
                }
                const int bit = place + behind - width, next = place + __shfl_sync(FULL_WARP, behind, 31);
                lines.land(offset + ceil_div(next, BITS) * (BITS / 8));
                Word x = 0;
                if (width > 0) {
                    const int word = offset + bit / BITS * (BITS / 8), shift = bit % BITS;
                    x = lines.word(word) << shift;
                    // The word behind may not be there where nothing of it is wanted.
                    if (shift + width > BITS) x |= lines.word(word + BITS / 8) >> (BITS - shift);
                    x >>= BITS - width;
                }
                place = next;
                lines.leave(offset + place / BITS * (BITS / 8));
                if (inside) {
                    if (participates) {
#pragma unroll
                        for (int stage = STAGES - 1; stage >= 0; stage--) {
                            const Word moved = table[(MOVED + stage) * columns + column];
                            x = (x & ~moved) | (x << (1 << stage) & moved);
                        }
                        x = (x & keep) | table[BITVAL * columns + column];
                    }
                    to[column] = x;
                }
            }
            begin += bits;
        }
    }
    cp_async_wait<0>();
}
