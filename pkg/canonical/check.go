package canonical

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"unicode/utf8"
)

// Check reports whether data is the one encoding of its value. The library's
// decoder takes unsorted keys and long integers, and a struct would hide fields
// that it lacks, so the bytes themselves are walked. It takes no memory.
func Check(data []byte) error {
	rest, err := checkItem(data, 0)
	if err == nil && len(rest) > 0 {
		err = fmt.Errorf("%d bytes follow the value", len(rest))
	}
	if err != nil && !errors.Is(err, ErrNotCanonical) {
		err = fmt.Errorf("%w: %w", ErrNotCanonical, err)
	}
	return err
}

// The major types of RFC 8949, section 3.1; the one between is of tags.
const (
	majorUnsigned = 0
	majorNegative = 1
	majorBytes    = 2
	majorText     = 3
	majorArray    = 4
	majorMap      = 5
	majorOther    = 7 // floats and simple values
)

// checkItem returns what follows the first item.
func checkItem(data []byte, depth int) (rest []byte, err error) {
	major, n, rest, err := head(data)
	if err != nil {
		return nil, err
	}
	switch major {
	case majorUnsigned, majorNegative:
		return rest, nil
	case majorBytes, majorText:
		if n > uint64(len(rest)) {
			return nil, fmt.Errorf("a string of %d bytes ends after %d", n, len(rest))
		}
		if major == majorText && !utf8.Valid(rest[:n]) {
			return nil, errors.New("a text is not UTF-8")
		}
		return rest[n:], nil
	case majorArray, majorMap:
		if depth == MaxDepth || n > MaxElements {
			return nil, fmt.Errorf("there are more than %d levels, or %d elements", MaxDepth, MaxElements)
		}
		if major == majorMap {
			return checkPairs(rest, n, depth+1)
		}
		for ; n > 0 && err == nil; n-- {
			rest, err = checkItem(rest, depth+1)
		}
		return rest, err
	case majorOther: // few bytes, and many rules
		return rest, checkAgain(data[:len(data)-len(rest)])
	}
	return nil, errors.New("there is a tag")
}

func checkPairs(data []byte, n uint64, depth int) (rest []byte, err error) {
	var last []byte
	for ; n > 0; n-- {
		if rest, err = checkItem(data, depth); err != nil {
			return nil, err
		}
		key := data[:len(data)-len(rest)]
		if major := key[0] >> 5; major == majorArray || major == majorMap {
			return nil, errors.New("a key is an array or a map")
		}
		if last != nil && bytes.Compare(last, key) >= 0 {
			return nil, errors.New("keys are out of order")
		}
		last = key
		if data, err = checkItem(rest, depth); err != nil {
			return nil, err
		}
	}
	return data, nil
}

var errShort = errors.New("it ends too early")

// head reads the first bytes of an item: its major type, and its value or
// length, which must be in the shortest form.
func head(data []byte) (major int, n uint64, rest []byte, err error) {
	if len(data) == 0 {
		return 0, 0, nil, errShort
	}
	major, n, rest = int(data[0]>>5), uint64(data[0]&0x1f), data[1:]
	if n < 24 {
		return major, n, rest, nil
	}
	if n > 27 {
		return 0, 0, nil, errors.New("a length is indefinite or reserved")
	}
	size := 1 << (n - 24)
	if len(rest) < size {
		return 0, 0, nil, errShort
	}
	var padded [8]byte
	copy(padded[8-size:], rest[:size])
	n, rest = binary.BigEndian.Uint64(padded[:]), rest[size:]
	if major == majorOther {
		return major, n, rest, nil // no length, and with rules of its own
	}
	if size == 1 && n < 24 || size > 1 && n < 1<<(4*size) {
		return 0, 0, nil, fmt.Errorf("%d is written in %d bytes", n, size)
	}
	return major, n, rest, nil
}

// Array reads the head of an array, and Map that of a map: how many elements, or
// pairs, lie in what follows it. It is for what is too large to be decoded at once.
func Array(data []byte) (n int, rest []byte, err error) { return elements(data, majorArray) }

// Map is Array for a map.
func Map(data []byte) (n int, rest []byte, err error) { return elements(data, majorMap) }

func elements(data []byte, want int) (int, []byte, error) {
	major, n, rest, err := head(data)
	if err == nil && (major != want || n > MaxElements) {
		err = fmt.Errorf("decoding CBOR: an item of type %d, expected %d", major, want)
	}
	return int(n), rest, err
}

// BytesHead is Array for a byte string, of which only the beginning may be in data.
func BytesHead(data []byte) (n int, rest []byte, err error) {
	major, length, rest, err := head(data)
	if err == nil && (major != majorBytes || length > math.MaxInt32) {
		err = fmt.Errorf("decoding CBOR: an item of type %d, expected %d", major, majorBytes)
	}
	return int(length), rest, err
}

// Bytes returns the contents of the byte string that data is: a part of data.
func Bytes(data []byte) ([]byte, error) {
	major, n, rest, err := head(data)
	if err == nil && (major != majorBytes || n != uint64(len(rest))) {
		err = errors.New("decoding CBOR: no byte string")
	}
	return rest, err
}

// First decodes the first item of data into v, which must know every field, and
// returns what follows it. It does not check that the item is canonical.
func First(data []byte, v any) (rest []byte, err error) {
	if rest, err = decoder.UnmarshalFirst(data, v); err != nil {
		return nil, fmt.Errorf("decoding CBOR: %w", err)
	}
	return rest, nil
}

// AppendBytesHead appends the head of a byte string of n bytes; the bytes follow it.
func AppendBytesHead(to []byte, n int) []byte { return appendHead(to, majorBytes, n) }

// AppendArrayHead appends the head of an array of n elements; they follow it.
func AppendArrayHead(to []byte, n int) []byte { return appendHead(to, majorArray, n) }

func appendHead(to []byte, major, n int) []byte {
	head, _ := encoder.Marshal(uint64(n)) // an integer always encodes
	head[0] |= byte(major << 5)
	return append(to, head...)
}
