// Package versions puts versions of packages in the order in which people mean them.
//
// A version is semantic if it is one to many numbers with dots between them, with an
// optional "v" before, and an optional pre-release and build behind (Semantic Versioning
// 2.0.0, sections 9 to 11, which asks for three numbers and no "v"): 1.9, v1.10.0,
// 2.0.0-rc.1, 2026.11.28+4. Numbers that are missing are zero. Those that differ only by
// how they are written or in their build are in the order of their bytes.
//
// Every other version comes before the semantic ones. Among them, runs of digits are in the
// order of their numbers: build-9 before build-10.
package versions

import (
	"bytes"
	"cmp"
	"strings"
)

// Kind of a version.
type Kind int

// The kinds, in the order in which one is preferred as the newest.
const (
	Other      Kind = iota // not semantic
	PreRelease             // semantic, with a pre-release
	Release                // semantic, without
)

// What parts the elements of a key. A key is compared byte by byte.
const (
	keyOther    = 0x00
	keySemantic = 0x01

	endOfList   = 0x00 // shorter lists come first
	number      = 0x01
	text        = 0x02
	releaseMark = 0xff // a release comes after its pre-releases
)

// Compare returns the order of two versions; 0 only if they are the same text.
func Compare(a, b string) int {
	return cmp.Or(bytes.Compare(Key(a), Key(b)), strings.Compare(a, b))
}

// KindOf tells what a version is.
func KindOf(version string) Kind {
	_, pre, ok := parse(version)
	switch {
	case !ok:
		return Other
	case pre != "":
		return PreRelease
	}
	return Release
}

// Key returns bytes whose order is that of versions, but for what differs only by how it is
// written. It has at most about three times the bytes of the version.
func Key(version string) []byte {
	numbers, pre, ok := parse(version)
	if !ok {
		return natural([]byte{keyOther}, version)
	}
	key := []byte{keySemantic}
	for len(numbers) > 0 && strings.Trim(numbers[len(numbers)-1], "0") == "" {
		numbers = numbers[:len(numbers)-1]
	}
	for _, n := range numbers {
		key = appendNumber(key, n)
	}
	key = append(key, endOfList)
	if pre == "" {
		return append(key, releaseMark)
	}
	for _, identifier := range strings.Split(pre, ".") {
		if isNumber(identifier) {
			key = appendNumber(key, identifier)
			continue
		}
		key = append(append(append(key, text), identifier...), endOfList)
	}
	return append(key, endOfList)
}

// parse returns the numbers and the pre-release of a semantic version.
func parse(version string) (numbers []string, pre string, ok bool) {
	rest, build, built := strings.Cut(version, "+")
	if built && build == "" {
		return nil, "", false
	}
	core, pre, prereleased := strings.Cut(rest, "-")
	if prereleased {
		for _, identifier := range strings.Split(pre, ".") {
			if identifier == "" {
				return nil, "", false
			}
		}
	}
	if len(core) > 1 && (core[0] == 'v' || core[0] == 'V') {
		core = core[1:]
	}
	numbers = strings.Split(core, ".")
	for _, n := range numbers {
		if !isNumber(n) {
			return nil, "", false
		}
	}
	return numbers, pre, true
}

func isNumber(s string) bool {
	return s != "" && strings.Trim(s, "0123456789") == ""
}

// appendNumber appends a number so that shorter ones come first. A version has fewer than
// 256 bytes.
func appendNumber(key []byte, digits string) []byte {
	digits = strings.TrimLeft(digits, "0")
	return append(append(key, number, byte(len(digits))), digits...) //nolint:gosec // see above
}

// natural appends text in which runs of digits are numbers. Digits come before letters, as
// in ASCII.
func natural(key []byte, version string) []byte {
	for version != "" {
		run := 0
		for run < len(version) && version[run] >= '0' && version[run] <= '9' {
			run++
		}
		if run > 0 {
			key, version = appendNumber(append(key, '0'), version[:run]), version[run:]
			continue
		}
		key, version = append(key, version[0]), version[1:]
	}
	return key
}
