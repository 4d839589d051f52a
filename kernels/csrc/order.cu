// SPDX-FileCopyrightText: The sceneflow authors
// SPDX-License-Identifier: Apache-2.0
// Points into cells that follow a Hilbert curve through the two widest axes: count, scan, scatter.

#define CHUNK 4096           // cells in a block of the scan
#define DRAWN 256            // points that tell the middle and the width of a cloud

__device__ inline float warp_sum(float value) {
    for (int step = 16; step > 0; step /= 2) value += __shfl_xor_sync(FULL, value, step);
    return value;
}

// Sums over a block of DRAWN threads, the same in every thread.
__device__ inline float4 block_sum(float4 value, float4* shared) {
    value = make_float4(warp_sum(value.x), warp_sum(value.y), warp_sum(value.z), warp_sum(value.w));
    __syncthreads();
    if (threadIdx.x % 32 == 0) shared[threadIdx.x / 32] = value;
    __syncthreads();
    float4 sum = make_float4(0.0f, 0.0f, 0.0f, 0.0f);
    for (int i = 0; i < DRAWN / 32; i++) {
        sum.x += shared[i].x; sum.y += shared[i].y; sum.z += shared[i].z; sum.w += shared[i].w;
    }
    return sum;
}

__device__ inline float4 load_point(const float* source, long long row) {
    float x = source[row * 3], y = source[row * 3 + 1], z = source[row * 3 + 2];
    bool finite = (x - x) + (y - y) + (z - z) == 0.0f;
    return finite ? make_float4(x, y, z, 1.0f) : make_float4(0.0f, 0.0f, 0.0f, 0.0f);
}

// A line through a square of 2^bits cells a side that visits neighbours one after the other (Hilbert).
__device__ inline u32 hilbert_plane(u32 x, u32 y, int bits) {
    u32 along = 0;
    for (u32 side = 1u << (bits - 1); side > 0; side /= 2) {
        u32 right = (x & side) != 0, up = (y & side) != 0;
        along += side * side * ((3 * right) ^ up);
        if (!up) {
            if (right) { x = ~x; y = ~y; }
            u32 swap = x; x = y; y = swap;
        }
    }
    return along;
}

// The same through a cube of 128 cells a side (Skilling 2004), 21 bits.
__device__ inline u32 hilbert_cube(u32 x, u32 y, u32 z) {
    for (u32 side = 64; side > 1; side /= 2) {
        u32 below = side - 1, swap;
        if (x & side) x ^= below;
        if (y & side) x ^= below; else { swap = (x ^ y) & below; x ^= swap; y ^= swap; }
        if (z & side) x ^= below; else { swap = (x ^ z) & below; x ^= swap; z ^= swap; }
    }
    y ^= x;
    z ^= y;
    u32 flip = 0;
    for (u32 side = 64; side > 1; side /= 2) if (z & side) flip ^= side - 1;
    x ^= flip; y ^= flip; z ^= flip;
    u32 along = 0;
    for (int bit = 6; bit >= 0; bit--)
        along = (along << 3) | ((x >> bit & 1) << 2) | ((y >> bit & 1) << 1) | (z >> bit & 1);
    return along;
}

// Cells grow with the distance from the middle of the cloud and reach to infinity: no border, nothing outside.
__device__ inline u32 cell_along(float offset, float scale, int bits) {
    float squashed = offset / (fabsf(offset) + scale);
    float cell = (squashed * 0.5f + 0.5f) * (float)(1 << bits);
    return cell > 0.0f ? min((u32)cell, (1u << bits) - 1) : 0u;
}

// Before all: where a sample lies and how far it spreads, from at most DRAWN of its points.
extern "C" __global__ void __launch_bounds__(DRAWN) survey(const __grid_constant__ Clouds clouds) {
    __shared__ float4 shared[DRAWN / 32];
    const Cloud& cloud = clouds.cloud[clouds.first + blockIdx.y];
    int sample = blockIdx.x;
    if (sample >= cloud.samples) return;
    int first = cloud.row[sample], count = cloud.row[sample + 1] - first, taken = min(count, DRAWN);
    float4 point = make_float4(0.0f, 0.0f, 0.0f, 0.0f), apart = point;
    if ((int)threadIdx.x < taken) point = load_point(cloud.source, first + (long long)threadIdx.x * count / taken);
    float4 sum = block_sum(point, shared);
    float many = fmaxf(sum.w, 1.0f);
    float4 middle = make_float4(sum.x / many, sum.y / many, sum.z / many, 0.0f);
    if (point.w != 0.0f)
        apart = make_float4(fabsf(point.x - middle.x), fabsf(point.y - middle.y), fabsf(point.z - middle.z), 0.0f);
    sum = block_sum(apart, shared);
    if (threadIdx.x != 0) return;
    Scene scene = {{middle.x, middle.y, middle.z}, {sum.x / many, sum.y / many, sum.z / many}};
    cloud.scene[sample] = scene;
}

// First pass: the cell of each point and its rank there.
extern "C" __global__ void __launch_bounds__(BLOCK, 2) count(const __grid_constant__ Clouds clouds) {
    const Cloud& cloud = clouds.cloud[clouds.first + blockIdx.y];
    if ((int)blockIdx.x >= cloud.block[cloud.samples]) return;
    Part part = part_of(cloud, blockIdx.x);
    int first = cloud.row[part.sample];
    Scene scene = cloud.scene[part.sample];
    float scale = fmaxf(fmaxf(fmaxf(scene.spread[0], scene.spread[1]), scene.spread[2]), 1e-30f);

    int at = part.start + threadIdx.x;
    u32 active = __ballot_sync(FULL, at < part.count);
    if (at >= part.count) return;
    float4 point = load_point(cloud.source, first + at);
    int begin = cloud.cells[part.sample];
    u32 size = cloud.cells[part.sample + 1] - begin;
    int bits = (31 - __clz(size)) / 2;
    // The two axes along which the cloud is widest.
    int drop = scene.spread[0] < scene.spread[1] && scene.spread[0] < scene.spread[2] ? 0
             : scene.spread[1] < scene.spread[2] ? 1 : 2;
    float u = drop == 0 ? point.z - scene.middle[2] : point.x - scene.middle[0];
    float v = drop == 1 ? point.z - scene.middle[2] : point.y - scene.middle[1];
    u32 cell = hilbert_plane(cell_along(u, scale, bits), cell_along(v, scale, bits), bits) & (size - 1);
    if (point.w == 0.0f) cell = size - 1;

    u32 same = __match_any_sync(active, cell);
    int leader = __ffs(same) - 1, lane = threadIdx.x % 32;
    u32 rank = 0;
    if (lane == leader) rank = atomicAdd(&cloud.table[begin + cell], __popc(same));
    rank = __shfl_sync(same, rank, leader) + __popc(same & ((1u << lane) - 1));
    cloud.place[first + at] = make_uint2(begin + cell, rank);
}

// Second pass: counts become first places. Chunks of the table take their stretch in whatever order they come.
extern "C" __global__ void __launch_bounds__(BLOCK) scan(const __grid_constant__ Clouds clouds) {
    __shared__ u32 sums[32];
    __shared__ u32 base;
    const Cloud& cloud = clouds.cloud[clouds.first + blockIdx.y];
    int start = blockIdx.x * CHUNK;
    if (start >= cloud.cells[cloud.samples]) return;
    int sample = sample_of(cloud.cells, cloud.samples, start);
    int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
    uint4* cells = (uint4*)(cloud.table + start) + threadIdx.x;
    uint4 count = *cells;
    u32 own = count.x + count.y + count.z + count.w, upto = own;
    for (int step = 1; step < 32; step *= 2) {
        u32 before = __shfl_up_sync(FULL, upto, step);
        if (lane >= step) upto += before;
    }
    if (lane == 31) sums[warp] = upto;
    __syncthreads();
    if (warp == 0) {
        u32 total = sums[lane], running = total;
        for (int step = 1; step < 32; step *= 2) {
            u32 before = __shfl_up_sync(FULL, running, step);
            if (lane >= step) running += before;
        }
        sums[lane] = running - total;
        if (lane == 31) base = atomicAdd(&cloud.cursor[sample], running);
    }
    __syncthreads();
    u32 place = base + sums[warp] + upto - own;
    *cells = make_uint4(place, place + count.x, place + count.x + count.y, place + count.x + count.y + count.z);
}

// Third pass: every point to its place.
extern "C" __global__ void __launch_bounds__(BLOCK) scatter(const __grid_constant__ Clouds clouds) {
    const Cloud& cloud = clouds.cloud[clouds.first + blockIdx.y];
    if ((int)blockIdx.x >= cloud.block[cloud.samples]) return;
    Part part = part_of(cloud, blockIdx.x);
    int at = part.start + threadIdx.x;
    if (at >= part.count) return;
    int row = cloud.row[part.sample] + at;
    uint2 place = cloud.place[row];
    float4 point = load_point(cloud.source, row);
    if (point.w == 0.0f) point = make_float4(NOT_A_NUMBER, NOT_A_NUMBER, NOT_A_NUMBER, 0.0f);
    point.w = __uint_as_float((u32)row);
    long long slot = (long long)cloud.block[part.sample] * BLOCK + cloud.table[place.x] + place.y;
    ((float4*)cloud.points)[slot] = point;  // put into leaves by arrange
}
