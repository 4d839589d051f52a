// SPDX-FileCopyrightText: The sceneflow authors
// SPDX-License-Identifier: Apache-2.0
// The kernels as a library for tests: every launch runs to its end, block after block. `build` runs a phase at a time.

#include "shim.h"

namespace {
#include "clouds.cuh"
#include "order.cu"
#include "boxes.cu"
#include "nearest.cu"
#include "chamfer.cu"

Clouds clouds;
Chamfer chamfer;

void launch(int width, int height, int threads, std::function<void()> function) {
    gridDim = {(unsigned)width, (unsigned)height, 1};
    for (blockIdx.y = 0; blockIdx.y < gridDim.y; blockIdx.y++)
        for (blockIdx.x = 0; blockIdx.x < gridDim.x; blockIdx.x++) run_block(threads, function);
}
}

extern "C" int run(const char* kernel, int width, int height, int threads, const char* first, const char* second) {
    std::string name = kernel;
    memcpy(&clouds, first, sizeof clouds);
    if (second) memcpy(&chamfer, second, sizeof chamfer);
    if (name == "build")
        for (clouds.phase = 0; clouds.phase < 6; clouds.phase++) launch(width, height, threads, [] { build(clouds); });
    else if (name == "search") launch(width, height, threads, [] { search(clouds); });
    else if (name == "search_apart") launch(width, height, threads, [] { search_apart(clouds); });
    else if (name == "reduce") launch(width, height, threads, [] { reduce(clouds, chamfer); });
    else if (name == "gradient") launch(width, height, threads, [] { gradient(clouds, chamfer); });
    else return 1;
    return 0;
}
