package registrar

import (
	"encoding/json"
	"strings"
	"testing"
)

// TestMarkersAreQuoted: whoever can write to a place chooses the words of its
// marker, and messages repeat them.
func TestMarkersAreQuoted(t *testing.T) {
	for _, m := range []marker{
		{Format: markerFormat, LogID: "\x1b[31mred\nline", BackendID: "b"},
		{Format: markerFormat, LogID: strings.Repeat("x", 1<<20), BackendID: "b"},
	} {
		data, err := json.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := ParseMarker(data, "ours", "here"); err == nil || strings.ContainsAny(err.Error(), "\x1b\n") || len(err.Error()) > 300 {
			t.Errorf("got %.400q", err)
		}
	}
}
