package canonical

import (
	"encoding/hex"
	"errors"
	"testing"
)

// The appendix A vectors of RFC 8949 that are deterministic, and variants of
// the same values that are not.
func TestCheck(t *testing.T) {
	t.Parallel()
	good := []string{"00", "17", "1818", "1903e8", "1bffffffffffffffff", "20", "3903e7", "f4", "f5", "f6", "f90000", "fb3ff199999999999a",
		"40", "4401020304", "60", "6449455446", "62c3bc", "80", "83010203", "a0", "a26161016162820203", "826161a161626163"}
	for _, text := range good {
		data, _ := hex.DecodeString(text)
		if err := Check(data); err != nil {
			t.Errorf("%s: %v", text, err)
		}
	}
	bad := map[string]string{
		"1817":                   "23 in two bytes",
		"190018":                 "24 in three bytes",
		"1b0000000000000001":     "1 in nine bytes",
		"5803010203":             "length 3 in two bytes",
		"9f010203ff":             "indefinite array",
		"5f42010243030405ff":     "indefinite byte string",
		"bf61610161629f0203ffff": "indefinite map",
		"a2616201616101":         "keys out of order",
		"a2616101616102":         "duplicate key",
		"fa3f800000":             "1.0 in 32 bits",
		"fb3ff0000000000000":     "1.0 in 64 bits",
		"c11a514b67b0":           "tag",
		"62c328":                 "not UTF-8",
		"0000":                   "trailing byte",
		"830102":                 "truncated",
		"":                       "nothing",
	}
	for text, what := range bad {
		data, _ := hex.DecodeString(text)
		if err := Check(data); !errors.Is(err, ErrNotCanonical) {
			t.Errorf("%s (%s): got %v, want ErrNotCanonical", text, what, err)
		}
	}
}

func TestUnknownFieldIsRefused(t *testing.T) {
	t.Parallel()
	data, err := Marshal(map[string]int{"a": 1, "b": 2})
	if err != nil {
		t.Fatal(err)
	}
	var v struct {
		A int `cbor:"a"`
	}
	if err := Unmarshal(data, &v); err == nil {
		t.Fatal("a field that the type lacks was dropped in silence")
	}
}

func FuzzCheck(f *testing.F) {
	f.Add([]byte{0xa1, 0x61, 0x61, 0x01})
	for _, seed := range []string{"82f97e00f94000", "a2f4016161fb3ff199999999999a", "a1410101", "f7", "f8ff", "f81f", "e0", "3bffffffffffffffff",
		"9081818181818181818181818181818181", "81818181818181818181818181818180", "8181818181818181818181818181818180", "a201020101", "a20102613103", "1a00010000", "5a0000000100"} {
		data, _ := hex.DecodeString(seed)
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if err, again := Check(data), checkAgain(data); (err == nil) != (again == nil) {
			t.Fatalf("%x: %v; by the value encoded again: %v", data, err, again)
		}
		if Check(data) != nil {
			return
		}
		var v any
		if err := Unmarshal(data, &v); err != nil {
			t.Fatalf("%x passes Check and fails Unmarshal: %v", data, err)
		}
		again, err := Marshal(v)
		if err != nil || string(again) != string(data) {
			t.Fatalf("%x encodes again as %x (%v)", data, again, err)
		}
	})
}
