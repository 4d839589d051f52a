// SPDX-FileCopyrightText: The sceneflow authors
// SPDX-License-Identifier: Apache-2.0
// Exact nearest neighbour by branch and bound over the boxes.
// Compile without contraction (--fmad=false): a rounded distance to a box never exceeds the one to a point inside.

#define GROUP (32 / LANES)   // queries in a packet, one warp each
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

// What a lane measures of a leaf: EACH neighbouring points, one coordinate.
template <int EACH> __device__ inline void load_each(float* values, const float* from) {
    if (EACH % 4 == 0) {
        #pragma unroll
        for (int i = 0; i < EACH; i += 4) {
            float4 four = ((const float4*)from)[i / 4];
            values[i] = four.x; values[i + 1] = four.y; values[i + 2] = four.z; values[i + 3] = four.w;
        }
    } else {
        #pragma unroll
        for (int i = 0; i < EACH; i++) values[i] = from[i];
    }
}

// Least over the SHARING neighbouring lanes that share a query.
template <int SHARING> __device__ inline u64 least_of(u64 value) {
    if (SHARING == 32) {
        u32 high = warp_min((u32)(value >> 32));
        return (u64)high << 32 | warp_min((u32)(value >> 32) == high ? (u32)value : FULL);
    }
    #pragma unroll
    for (int step = 1; step < SHARING; step *= 2) value = min(value, __shfl_xor_sync(FULL, value, step));
    return value;
}

// Measure all points of a leaf, SHARING lanes for each query. Most leaves improve nothing: rows and the bounds of the
// packet are only looked at if one does.
template <int SHARING> __device__ inline void measure(Packet& packet, const float* leaf) {
    const int APART = SHARING < LEAF ? SHARING : LEAF, EACH = LEAF / APART;
    float x[EACH], y[EACH], z[EACH], squared[EACH], least = INFINITE;
    leaf += threadIdx.x % APART * EACH;
    load_each<EACH>(x, leaf);
    load_each<EACH>(y, leaf + LEAF);
    load_each<EACH>(z, leaf + 2 * LEAF);
    #pragma unroll
    for (int i = 0; i < EACH; i++) {
        float dx = packet.query.x - x[i], dy = packet.query.y - y[i], dz = packet.query.z - z[i];
        squared[i] = (dx * dx + dy * dy) + dz * dz;
        least = fminf(least, squared[i]);
    }
    packet.patience--;
    if (__any_sync(FULL, least <= __uint_as_float((u32)(packet.best >> 32)))) {
        load_each<EACH>(x, leaf + 3 * LEAF);
        u32 row = FULL;
        #pragma unroll
        for (int i = 0; i < EACH; i++) if (squared[i] == least) row = min(row, __float_as_uint(x[i]));
        packet.best = least_of<SHARING>(min(packet.best, rank_of(least, row)));
        packet.worst = SHARING == 32 ? packet.best : greatest(packet.best);
    }
    if (packet.patience == 0) packet.worst = 0;
}

// The lane whose box is nearest among those that can still improve the packet, or -1. Five bits of the distance make room
// for the lane, so that one reduction tells it: of boxes that far alike any may be next.
__device__ inline int nearest_lane(u64 bound, u64 worst) {
    u32 least = warp_min(bound < worst ? ((u32)(bound >> 32) & ~31u) | threadIdx.x % 32 : FULL);
    return least == FULL ? -1 : (int)(least % 32);
}

// The sample of the other cloud, read once from the arguments of the kernel.
struct Target {
    const float* points;
    const Box* leaves;
    const Box* tiles;
    const u32* supers;
    int super;           // its first one
    int tile;            // its first one
    int count;           // of its tiles
};

__device__ inline Target target_of(const Cloud& cloud, int sample) {
    Target target;
    target.points = cloud.points;
    target.leaves = cloud.leaves;
    target.tiles = cloud.tiles;
    target.supers = cloud.supers;
    target.super = first_super(cloud, sample);
    target.tile = cloud.block[sample] * TILES;
    target.count = (cloud.block[sample + 1] - cloud.block[sample]) * TILES;
    return target;
}

template <int SHARING> __device__ inline void search_tile(Packet& packet, const Target& target, int tile) {
    int lane = threadIdx.x % 32;
    u64 near = bound(packet.box, load_box(&target.leaves[tile * FAN + lane]));
    if (--packet.patience == 0) packet.worst = 0;
    const float* leaves = target.points + (long long)tile * (FAN * 4 * LEAF);
    for (int next; (next = nearest_lane(near, packet.worst)) >= 0;) {
        if (lane == next) near = ~0ull;
        measure<SHARING>(packet, leaves + next * (4 * LEAF));
    }
}

template <int SHARING> __device__ inline void search_super(Packet& packet, const Target& target, int tile, int tiles) {
    int lane = threadIdx.x % 32;
    u64 near = lane < tiles ? bound(packet.box, load_box(&target.tiles[tile + lane])) : ~0ull;
    for (int next; (next = nearest_lane(near, packet.worst)) >= 0;) {
        if (lane == next) near = ~0ull;
        search_tile<SHARING>(packet, target, tile + next);
    }
}

template <int SHARING> __device__ inline void search_sample(Packet& packet, const Target& target) {
    int lane = threadIdx.x % 32;
    for (int from = 0; from * FAN < target.count; from += FAN) {
        int own = from + lane;
        u64 near = own * FAN < target.count
            ? bound(packet.box, load_super(target.supers + (long long)(target.super + own) * 8)) : ~0ull;
        for (int next; (next = nearest_lane(near, packet.worst)) >= 0;) {
            if (lane == next) near = ~0ull;
            int begin = (from + next) * FAN;
            search_super<SHARING>(packet, target, target.tile + begin, min(FAN, target.count - begin));
        }
    }
}

// A query pulls on the point that it chose. Integers add up to the same in any order.
__device__ inline void pull(const Cloud& target, u32 chosen, const float4& query) {
    const float* point = target.source + (long long)chosen * 3;
    u64* sum = (u64*)target.pulls + (long long)chosen * 3;
    atomicAdd(sum, (u64)__double2ll_rn(((double)point[0] - (double)query.x) * target.scale));
    atomicAdd(sum + 1, (u64)__double2ll_rn(((double)point[1] - (double)query.y) * target.scale));
    atomicAdd(sum + 2, (u64)__double2ll_rn(((double)point[2] - (double)query.z) * target.scale));
}

// What a query found. The last answer is final: until then, it is where the search goes on from.
__device__ inline void answer(const Cloud& queries, const Cloud& target, const Packet& packet, u32 row, bool last) {
    bool found = (u32)packet.best != FULL;
    queries.index[row] = found ? (long long)(u32)packet.best : -1ll;
    queries.distance[row] = found ? __uint_as_float((u32)(packet.best >> 32)) : INFINITE;
    if (last && found && target.pulls) pull(target, (u32)packet.best, packet.query);
}

// Query `slot` of the search order; its row.
__device__ inline u32 load_query(Packet& packet, const Cloud& queries, int slot) {
    const float* own = queries.points + (long long)(slot / LEAF) * (4 * LEAF) + slot % LEAF;
    packet.query = make_float4(own[0], own[LEAF], own[2 * LEAF], 0.0f);
    return __float_as_uint(own[3 * LEAF]);
}

// One warp for GROUP queries that lie next to each other in search order, LANES lanes for each. Where they lie too far
// apart to share a box, it leaves what it found so far and their names to `search_apart`.
extern "C" __global__ void __launch_bounds__(32 * WARPS, RESIDENT) search(const __grid_constant__ Clouds clouds) {
    int direction = clouds.first + blockIdx.y;
    const Cloud& queries = clouds.cloud[direction];
    const Cloud& target = clouds.cloud[1 - direction];
    int number = blockIdx.x * WARPS + threadIdx.x / 32;
    int block = number / (BLOCK / GROUP);
    if (block >= queries.block[queries.samples]) return;
    Part part = part_of(queries, block);
    if (part.start + number % (BLOCK / GROUP) * GROUP >= part.count) return;

    Packet packet;
    u32 row = load_query(packet, queries, number * GROUP + threadIdx.x % 32 / LANES);
    bool finite = packet.query.x == packet.query.x;
    packet.best = finite ? rank_of(clouds.limit, FULL) : 0ull;
    packet.worst = greatest(packet.best);
    packet.box = box_around_warp(box_of(packet.query.x, packet.query.y, packet.query.z, 0));
    packet.patience = PATIENCE;
    search_sample<LANES>(packet, target_of(target, part.sample));
    bool last = packet.patience > 0;
    if (!finite) packet.best = rank_of(INFINITE, FULL);
    if (!last && threadIdx.x % 32 == 0) clouds.apart[direction][atomicAdd(&clouds.barrier[1 + direction], 1u)] = number;
    if (row != FULL && threadIdx.x % LANES == 0) answer(queries, target, packet, row, last);
}

// One warp for each query of the packets that gave up, from the best that it has.
extern "C" __global__ void __launch_bounds__(32 * WARPS, RESIDENT) search_apart(const __grid_constant__ Clouds clouds) {
    int direction = clouds.first + blockIdx.y;
    const Cloud& queries = clouds.cloud[direction];
    const Cloud& target = clouds.cloud[1 - direction];
    int items = clouds.barrier[1 + direction] * GROUP;
    for (int item = blockIdx.x * WARPS + threadIdx.x / 32; item < items; item += gridDim.x * WARPS) {
        int slot = clouds.apart[direction][item / GROUP] * GROUP + item % GROUP;
        Packet packet;
        u32 row = load_query(packet, queries, slot);
        if (row == FULL || packet.query.x != packet.query.x) continue;
        float distance = queries.distance[row];
        packet.best = distance < INFINITE ? rank_of(distance, (u32)queries.index[row]) : rank_of(clouds.limit, FULL);
        packet.worst = packet.best;
        packet.box = box_of(packet.query.x, packet.query.y, packet.query.z, 0);
        packet.patience = 0;  // never again
        search_sample<32>(packet, target_of(target, part_of(queries, slot / BLOCK).sample));
        if (threadIdx.x % 32 == 0) answer(queries, target, packet, row, true);
    }
}
