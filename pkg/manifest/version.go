package manifest

import "bytes"

// versionKey is the longest key of a manifest and so, in deterministic CBOR, its last.
var versionKey = append([]byte{0x60 + byte(len("schemaVersion"))}, "schemaVersion"...)

// VersionOf returns the schema version of an encoded manifest without decoding
// the rest, which may be 32 MiB. It does not check the rest.
func VersionOf(encoded []byte) (int, error) {
	rest := len(encoded) - 1
	if rest < len(versionKey) || !bytes.HasSuffix(encoded[:rest], versionKey) || encoded[rest] > 23 {
		return 0, invalid("manifest.schemaVersion", "must be the last field, a number of at most 23")
	}
	return int(encoded[rest]), nil
}
