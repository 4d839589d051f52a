// SPDX-FileCopyrightText: The sceneflow authors
// SPDX-License-Identifier: Apache-2.0
// Exact nearest neighbour by branch and bound over the boxes.
// Compile without contraction (--fmad=false): a rounded distance to a box never exceeds the one to a point inside.

#define GROUP (32 / LANES)   // queries in a packet, one warp each
#define EACH (LEAF / LANES)  // points of a leaf that a lane measures
static_assert((LANES & (LANES - 1)) == 0 && LANES >= 1 && LANES <= LEAF,
              "lanes must be a power of two and at most the points of a leaf");
static_assert((WARPS & (WARPS - 1)) == 0 && WARPS >= 1 && WARPS <= 32, "warps must be a power of two from 1 to 32");
static_assert(PATIENCE >= 1 && RESIDENT >= 1, "patience and resident must be at least 1");

// Squared distance and row in one integer: the smaller one is the nearer neighbour, of equals the lower row.
__device__ inline u64 rank_of(float squared, u32 row) {
    return (u64)__float_as_uint(squared) << 32 | row;
}

// What any point of `box` can reach at best with any query of `packet`.
__device__ inline u64 bound(const Box& packet, const Box& box) {
    float x = fmaxf(fmaxf(box.low[0] - packet.high[0], packet.low[0] - box.high[0]), 0.0f);
    float y = fmaxf(fmaxf(box.low[1] - packet.high[1], packet.low[1] - box.high[1]), 0.0f);
    float z = fmaxf(fmaxf(box.low[2] - packet.high[2], packet.low[2] - box.high[2]), 0.0f);
    return rank_of((x * x + y * y) + z * z, box.row);
}

__device__ inline Box load_box(const Box* node) {
    float4 low = ((const float4*)node)[0], high = ((const float4*)node)[1];
    Box box;
    box.low[0] = low.x; box.low[1] = low.y; box.low[2] = low.z;
    box.row = __float_as_uint(low.w);
    box.high[0] = high.x; box.high[1] = high.y; box.high[2] = high.z;
    box.unused = 0;
    return box;
}

struct Packet {
    Box box;             // around its queries
    float4 query;        // this lane's
    u64 best;            // this query's, shared by its lanes
    u64 worst;           // greatest `best` of the packet
    int patience;        // visits left
};

__device__ inline u64 greatest(u64 value) {
    u32 high = warp_max((u32)(value >> 32));
    u32 low = warp_max((u32)(value >> 32) == high ? (u32)value : 0u);
    return (u64)high << 32 | low;
}

// What this lane measures of a leaf: EACH neighbouring points, one coordinate.
__device__ inline void load_each(float* values, const float* from) {
#if EACH % 4 == 0
    #pragma unroll
    for (int i = 0; i < EACH; i += 4) {
        float4 four = ((const float4*)from)[i / 4];
        values[i] = four.x; values[i + 1] = four.y; values[i + 2] = four.z; values[i + 3] = four.w;
    }
#else
    #pragma unroll
    for (int i = 0; i < EACH; i++) values[i] = from[i];
#endif
}

// Measure all points of a leaf. Most leaves improve nothing: rows and the bounds of the packet are only looked at if one
// does.
__device__ inline void measure(Packet& packet, const float* leaf) {
    float x[EACH], y[EACH], z[EACH], squared[EACH], least = INFINITE;
    leaf += threadIdx.x % LANES * EACH;
    load_each(x, leaf);
    load_each(y, leaf + LEAF);
    load_each(z, leaf + 2 * LEAF);
    #pragma unroll
    for (int i = 0; i < EACH; i++) {
        float dx = packet.query.x - x[i], dy = packet.query.y - y[i], dz = packet.query.z - z[i];
        squared[i] = (dx * dx + dy * dy) + dz * dz;
        least = fminf(least, squared[i]);
    }
    packet.patience--;
    if (__any_sync(FULL, least <= __uint_as_float((u32)(packet.best >> 32)))) {
        load_each(x, leaf + 3 * LEAF);
        #pragma unroll
        for (int i = 0; i < EACH; i++) packet.best = min(packet.best, rank_of(squared[i], __float_as_uint(x[i])));
        #pragma unroll
        for (int step = 1; step < LANES; step *= 2)
            packet.best = min(packet.best, __shfl_xor_sync(FULL, packet.best, step));
        packet.worst = greatest(packet.best);
    }
    if (packet.patience == 0) packet.worst = 0;
}

// The lane whose bound is least among those that can still improve the packet, or -1.
__device__ inline int nearest_lane(u64 bound, u64 worst) {
    u32 high = bound < worst ? (u32)(bound >> 32) : FULL;
    u32 least = warp_min(high);
    if (least == FULL) return -1;
    return __ffs(__ballot_sync(FULL, high == least)) - 1;
}

__device__ inline void search_tile(Packet& packet, const Cloud& target, int tile) {
    int lane = threadIdx.x % 32;
    u64 near = bound(packet.box, load_box(&target.leaves[tile * FAN + lane]));
    if (--packet.patience == 0) packet.worst = 0;
    for (int next; (next = nearest_lane(near, packet.worst)) >= 0;) {
        if (lane == next) near = ~0ull;
        const float* leaves = target.points + (long long)tile * (FAN * 4 * LEAF);
        measure(packet, leaves + next * (4 * LEAF));
    }
}

__device__ inline void search_super(Packet& packet, const Cloud& target, int tile, int tiles) {
    int lane = threadIdx.x % 32;
    u64 near = lane < tiles ? bound(packet.box, load_box(&target.tiles[tile + lane])) : ~0ull;
    for (int next; (next = nearest_lane(near, packet.worst)) >= 0;) {
        if (lane == next) near = ~0ull;
        search_tile(packet, target, tile + next);
    }
}

__device__ inline void search_sample(Packet& packet, const Cloud& target, int sample) {
    int lane = threadIdx.x % 32;
    int tile = target.block[sample] * TILES, node = first_super(target, sample);
    int tiles = (target.block[sample + 1] - target.block[sample]) * TILES;
    for (int from = 0; from * FAN < tiles; from += FAN) {
        int own = from + lane;
        u64 near = own * FAN < tiles ? bound(packet.box, load_super(target.supers + (long long)(node + own) * 8)) : ~0ull;
        for (int next; (next = nearest_lane(near, packet.worst)) >= 0;) {
            if (lane == next) near = ~0ull;
            int begin = (from + next) * FAN;
            search_super(packet, target, tile + begin, min(FAN, tiles - begin));
        }
    }
}

// Queries too far apart to share a box: the whole warp for one after the other, each starting from its best so far.
__device__ inline void search_apart(Packet& packet, const Cloud& target, int sample) {
    u64 best = packet.best;
    for (int turn = 0; turn < GROUP; turn++) {
        bool own = (int)(threadIdx.x % 32) / LANES == turn;
        float x = __shfl_sync(FULL, packet.query.x, turn * LANES), y = __shfl_sync(FULL, packet.query.y, turn * LANES),
              z = __shfl_sync(FULL, packet.query.z, turn * LANES);
        packet.best = own ? best : 0ull;
        packet.worst = greatest(packet.best);
        packet.box = box_of(x, y, z, 0);
        packet.patience = 0;  // never again
        search_sample(packet, target, sample);
        if (own) best = packet.best;
    }
    packet.best = best;
}

// A query pulls on the point that it chose. Integers add up to the same in any order.
__device__ inline void pull(const Cloud& target, u32 chosen, const float4& query) {
    const float* point = target.source + (long long)chosen * 3;
    u64* sum = (u64*)target.pulls + (long long)chosen * 3;
    atomicAdd(sum, (u64)__double2ll_rn(((double)point[0] - (double)query.x) * target.scale));
    atomicAdd(sum + 1, (u64)__double2ll_rn(((double)point[1] - (double)query.y) * target.scale));
    atomicAdd(sum + 2, (u64)__double2ll_rn(((double)point[2] - (double)query.z) * target.scale));
}

// One warp for GROUP queries that lie next to each other in search order, LANES lanes for each.
extern "C" __global__ void __launch_bounds__(32 * WARPS, RESIDENT) search(const __grid_constant__ Clouds clouds) {
    int direction = clouds.first + blockIdx.y;
    const Cloud& queries = clouds.cloud[direction];
    const Cloud& target = clouds.cloud[1 - direction];
    int packet_index = blockIdx.x * WARPS + threadIdx.x / 32;
    int block = packet_index / (BLOCK / GROUP);
    if (block >= queries.block[queries.samples]) return;
    Part part = part_of(queries, block);
    int within = packet_index % (BLOCK / GROUP) * GROUP;
    if (part.start + within >= part.count) return;

    Packet packet;
    int slot = block * BLOCK + within + threadIdx.x % 32 / LANES;
    const float* own = queries.points + (long long)(slot / LEAF) * (4 * LEAF) + slot % LEAF;
    packet.query = make_float4(own[0], own[LEAF], own[2 * LEAF], 0.0f);
    u32 row = __float_as_uint(own[3 * LEAF]);
    bool finite = packet.query.x == packet.query.x;
    packet.best = finite ? rank_of(clouds.limit, FULL) : 0ull;
    packet.worst = greatest(packet.best);
    packet.box = box_around_warp(box_of(packet.query.x, packet.query.y, packet.query.z, 0));
    packet.patience = PATIENCE;
    search_sample(packet, target, part.sample);
    if (packet.patience <= 0) search_apart(packet, target, part.sample);

    if (row == FULL || threadIdx.x % LANES != 0) return;
    bool found = finite && (u32)packet.best != FULL;
    queries.index[row] = found ? (long long)(u32)packet.best : -1ll;
    if (found && target.pulls) pull(target, (u32)packet.best, packet.query);
    queries.distance[row] = found ? __uint_as_float((u32)(packet.best >> 32)) : INFINITE;
}
