// SPDX-License-Identifier: Apache-2.0
// Pieces: byte strings coded by zlib (raw deflate), with their lengths in front. Nobody outside
// host/compile includes this.
#ifndef BITLOOM_HOST_COMPILE_PIECE_H
#define BITLOOM_HOST_COMPILE_PIECE_H

#include "host/compile/wire.h"

// Length, length coded (as varints; the same: not coded), bytes. Of zlib's strategies the one that
// is shortest here: matches and Huffman codes, or Huffman codes alone.
void bl_put_piece(bl_writer *w, const bl_writer *content);
// A piece of at most `limit` bytes; the caller frees content->bytes, which is never NULL unless
// reading failed.
bool bl_get_piece(bl_reader *r, size_t limit, bl_reader *content);

#endif
