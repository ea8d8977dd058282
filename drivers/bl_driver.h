// SPDX-License-Identifier: Apache-2.0
// The Bitloom driver: requests out, answers in, over any transport.
//
// Freestanding C99: no allocation, no stdio, no floating point, no global state; nothing is needed
// but memcpy-like loops of its own. The caller owns every buffer. Not re-entrant for one driver
// object; any number of objects may be used side by side.
//
// It never deadlocks on a device that stalls one direction: whenever it writes it also reads, and a
// destination for every answer is known before its request is sent. When nothing moves for
// `patience` waits in a row it gives up with BL_DRIVER_TIMEOUT. After TRANSPORT, TIMEOUT or
// BAD_ANSWER every call returns that same result, and nothing is written to any destination, until
// bl_driver_reset has succeeded; after DEVICE likewise, but that bl_driver_await of a request
// before the one that failed still takes answers in.
#ifndef BITLOOM_DRIVERS_BL_DRIVER_H
#define BITLOOM_DRIVERS_BL_DRIVER_H

#include <stdbool.h>
#include <stdint.h>

#include "drivers/bl_contract.h"

typedef enum {
  BL_DRIVER_OK = 0,
  BL_DRIVER_ARGUMENT,     // the call makes no sense; nothing was sent
  BL_DRIVER_WRONG_DEVICE, // identity, version or configuration differ; nothing was loaded
  BL_DRIVER_TRANSPORT,    // the transport failed; the packet under way may be cut short
  BL_DRIVER_TIMEOUT,      // the device moved nothing for `patience` waits
  BL_DRIVER_BAD_ANSWER,   // an answer's magic, CRC, tag or length is wrong; needs bl_driver_reset
  BL_DRIVER_DEVICE        // the device answered an error: see bl_driver.failure
} bl_driver_result;

// How words reach the device. Every function gets `context`; a negative return is a failure.
// write and read never block: they move what they can now, 0..count words, and return that number.
// wait lets time pass (cycles of a simulation, a sleep) and is called when neither moved anything.
// reg_read and reg_write reach the AXI4-Lite registers; both may be NULL where there is no such
// path.
typedef struct {
  int32_t (*write)(void *context, const uint32_t *words, uint32_t count);
  int32_t (*read)(void *context, uint32_t *words, uint32_t count);
  int32_t (*wait)(void *context);
  int32_t (*reg_read)(void *context, uint32_t offset, uint32_t *value);
  int32_t (*reg_write)(void *context, uint32_t offset, uint32_t value);
} bl_transport;

// What came back for a request that is answered.
typedef struct {
  uint8_t opcode;
  uint16_t tag;
  uint8_t status; // BL_STATUS_*
  uint32_t info;
  uint32_t bytes; // payload bytes, in the request's destination
  // Of a RUN that went well: the sum of what it wrote, see docs/reference/device.md. Else 0.
  uint32_t signature;
} bl_answer;

// Called once for each answer, in the order of arrival, from inside the driver's calls; must not
// call the driver. NULL where nobody listens.
typedef void (*bl_driver_listener)(void *context, const bl_answer *answer);

enum { BL_DRIVER_OUTSTANDING = 32 };

typedef struct {
  uint32_t *destination;
  uint32_t words; // room at destination
  uint16_t tag;
  uint8_t opcode;
  bool active;
} bl_driver_pending;

typedef struct {
  const bl_transport *transport;
  void *context;
  uint32_t patience;
  bl_driver_listener listener;
  void *listener_context;
  bl_answer failure; // the first answer with a status other than OK since open or reset
  bool failed;
  // private
  bl_driver_result lost; // why the streams are out of step; OK while they are in step
  uint16_t next_tag;
  bl_driver_pending pending[BL_DRIVER_OUTSTANDING];
  uint32_t header[BL_CONTRACT_HEADER_WORDS];
  uint32_t header_have;
  uint32_t payload_words, payload_have; // payload of the answer being read, its CRC word included
  uint32_t payload_crc;
  uint32_t signature;
  int32_t payload_entry; // its pending entry
  uint32_t crc_table[8][256];
} bl_driver;

// Prepares a driver; sends nothing. patience: waits without any progress before TIMEOUT, > 0.
bl_driver_result bl_driver_open(bl_driver *driver, const bl_transport *transport, void *context,
                                uint32_t patience);

// Sends one request and takes in whatever answers arrive meanwhile. `payload`: ceil(bytes/4) words,
// NULL when bytes is 0. Where the opcode is answered (all but the loads), the answer's payload goes
// to `destination`, which must stay valid until it came; `words` is its room. A RUN needs none: its
// answer's one word is bl_answer.signature. *tag may be NULL.
// Returns DEVICE as soon as an error answer has been seen, also one for an earlier request: when
// the error was known before the call, this request has not been sent.
bl_driver_result bl_driver_request(bl_driver *driver, uint8_t opcode, uint32_t address,
                                   uint32_t argument, const uint32_t *payload, uint32_t bytes,
                                   uint32_t *destination, uint32_t words, uint16_t *tag);

// Takes in answers until the request with this tag, and every one sent before it, has been
// answered; sends nothing, so the device is not held up. Returns DEVICE as soon as
// bl_driver.failure is the answer to one of these, or to no request at all; errors of later
// requests do not end the wait.
bl_driver_result bl_driver_await(bl_driver *driver, uint16_t tag);

// Waits until everything sent so far has been answered (a FENCE request).
bl_driver_result bl_driver_fence(bl_driver *driver);

// Reads the nine counters, after everything earlier is done; optionally clears them.
bl_driver_result bl_driver_counters(bl_driver *driver, uint64_t counters[BL_COUNTER_COUNT],
                                    bool clear);

// Asks for the identity and compares it with `expected`. WRONG_DEVICE where it differs, and for any
// ACC_W outside 16..32. *found holds what the device said (its name is NULL); found may be NULL.
bl_driver_result bl_driver_identify(bl_driver *driver, const bl_config *expected, bl_config *found);

// Brings a device back after any failure: a soft reset through the registers where there are any,
// else a RESET request behind enough words to end a half-sent packet. Memories keep what they held.
bl_driver_result bl_driver_reset(bl_driver *driver);

// CRC-32 (IEEE 802.3, reflected 0xEDB88320) of the bytes of `count` words, continued from `crc`
// (0 at the start).
uint32_t bl_driver_crc32(const bl_driver *driver, uint32_t crc, const uint32_t *words,
                         uint32_t count);

// A fixed text for a result or a device status; never NULL.
const char *bl_driver_result_text(bl_driver_result result);
const char *bl_driver_status_text(uint8_t status);

#endif
