// SPDX-FileCopyrightText: The sceneflow authors
// SPDX-License-Identifier: Apache-2.0
// Truncated chamfer on top of the answers and pulls of `search`. Sums are taken in a fixed order.

struct Chamfer {
    double* sums;            // (blocks of both clouds) sum of the squared distances found in a block
    u32* counts;             // (blocks of both clouds) how many were found
    u32* tickets;            // (samples) blocks done; zero at first
    u32* found;              // (2, samples)
    float* loss;             // (samples)
    const float* upstream;   // (samples) gradient of the loss
    float* gradient[2];      // (N, 3)
    int stride;              // of upstream, in elements
    int unused;
};

static_assert(sizeof(Chamfer) == 72, "twin of layout.py");

// Sum over the block, in thread 0, always in the same order.
__device__ inline double block_total(double value, double* shared) {
    for (int step = 16; step > 0; step /= 2) value += __shfl_down_sync(FULL, value, step);
    __syncthreads();
    if (threadIdx.x % 32 == 0) shared[threadIdx.x / 32] = value;
    __syncthreads();
    value = shared[threadIdx.x % 32];
    for (int step = 16; step > 0; step /= 2) value += __shfl_down_sync(FULL, value, step);
    return value;
}

__device__ inline int blocks_of(const Clouds& clouds, int which, int sample) {
    const Cloud& cloud = clouds.cloud[which];
    return cloud.block[sample + 1] - cloud.block[sample];
}

// The mean of each direction and their sum; the block that finishes a sample last adds its parts.
extern "C" __global__ void __launch_bounds__(BLOCK)
reduce(const __grid_constant__ Clouds clouds, const __grid_constant__ Chamfer chamfer) {
    __shared__ double shared[32];
    __shared__ bool last;
    int which = blockIdx.y, samples = clouds.cloud[0].samples, thread = threadIdx.x;
    const Cloud& cloud = clouds.cloud[which];
    if (blockIdx.x == 0 && which == 0 && thread < samples)
        if (blocks_of(clouds, 0, thread) + blocks_of(clouds, 1, thread) == 0) {
            chamfer.loss[thread] = 0.0f;
            chamfer.found[thread] = chamfer.found[samples + thread] = 0;
        }
    if ((int)blockIdx.x >= cloud.block[samples]) return;
    Part part = part_of(cloud, blockIdx.x);
    int at = part.start + thread, blocks = clouds.cloud[0].block[samples];
    float distance = at < part.count ? cloud.distance[cloud.row[part.sample] + at] : INFINITE;
    bool found = distance < INFINITE;
    double sum = block_total(found ? (double)distance : 0.0, shared);
    u32 count = __syncthreads_count(found);
    if (thread == 0) {
        int place = which * blocks + blockIdx.x;
        chamfer.sums[place] = sum;
        chamfer.counts[place] = count;
        __threadfence();
        int all = blocks_of(clouds, 0, part.sample) + blocks_of(clouds, 1, part.sample);
        last = (int)atomicAdd(&chamfer.tickets[part.sample], 1u) == all - 1;
    }
    __syncthreads();
    if (!last) return;
    __threadfence();
    double loss = 0.0;
    for (int side = 0; side < 2; side++) {
        int begin = side * blocks + clouds.cloud[side].block[part.sample];
        double part_sum = 0.0, part_count = 0.0;
        for (int i = thread; i < blocks_of(clouds, side, part.sample); i += BLOCK) {
            part_sum += ((volatile double*)chamfer.sums)[begin + i];
            part_count += (double)((volatile u32*)chamfer.counts)[begin + i];
        }
        part_sum = block_total(part_sum, shared);
        part_count = block_total(part_count, shared);
        loss += part_sum / fmax(part_count, 1.0);
        if (thread == 0) chamfer.found[side * samples + part.sample] = (u32)part_count;
    }
    if (thread == 0) chamfer.loss[part.sample] = (float)loss;
}

// Of each point: its own gap, and the gaps of the points that chose it.
extern "C" __global__ void __launch_bounds__(BLOCK)
gradient(const __grid_constant__ Clouds clouds, const __grid_constant__ Chamfer chamfer) {
    int which = clouds.first + blockIdx.y, samples = clouds.cloud[0].samples;
    const Cloud& cloud = clouds.cloud[which];
    const float* target = clouds.cloud[1 - which].source;
    if ((int)blockIdx.x >= cloud.block[samples]) return;
    Part part = part_of(cloud, blockIdx.x);
    int at = part.start + threadIdx.x;
    if (at >= part.count) return;
    long long row = cloud.row[part.sample] + at, neighbour = cloud.index[row];
    double twice = 2.0 * (double)chamfer.upstream[(long long)part.sample * chamfer.stride];
    double unit = 1.0 / cloud.scale;
    double own = twice / fmax((double)chamfer.found[which * samples + part.sample], 1.0);
    double theirs = twice / fmax((double)chamfer.found[(1 - which) * samples + part.sample], 1.0);
    for (int axis = 0; axis < 3; axis++) {
        double total = 0.0;  // what is not there adds nothing, also where the upstream gradient is infinite
        if (neighbour >= 0)
            total += own * ((double)cloud.source[row * 3 + axis] - (double)target[neighbour * 3 + axis]);
        long long pulled = cloud.pulls[row * 3 + axis];
        if (pulled != 0) total += theirs * ((double)pulled * unit);
        chamfer.gradient[which][row * 3 + axis] = (float)total;
    }
}
