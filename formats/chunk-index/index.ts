/** Chunk indexes of the draft EROFS image specification: which bytes of a blob hold which part of its content. */
export { ChunkIndex, decodeChunkIndex } from "./decode.ts";
export { ChunkIndexWriter } from "./encode.ts";
export { type ChunkCompression, type ChunkHash, MAX_CHUNK_BYTES, MAX_INDEX_BYTES, maxStoredBytes } from "./format.ts";
export { FRAME_HEADER_BYTES, paddingFrame, skippableFrame, skippablePayload } from "./frame.ts";
