package layers

import (
	"os"
	"os/exec"
	"strings"
	"testing"
)

// TestLinked asks go list what the packages link that must not link a library:
// Check follows the imports of this module, but not those of libraries.
func TestLinked(t *testing.T) {
	t.Parallel()
	for from, unwanted := range unlinked {
		output, err := exec.CommandContext(t.Context(), "go", "list", "-deps", module+"/"+from).Output() //nolint:gosec // of the table
		if err != nil {
			t.Fatal(err)
		}
		linked := strings.Fields(string(output))
		if len(linked) < 10 {
			t.Errorf("%s links only %v", from, linked)
		}
		for _, library := range unwanted {
			for _, name := range linked {
				if matches(library+"/...", name) {
					t.Errorf("%s must not link %s, and links %s", from, library, name)
				}
			}
		}
	}
	// A result that is kept depends on the versions of libraries, too.
	if _, err := os.ReadFile("../../go.mod"); err != nil {
		t.Fatal(err)
	}
}
