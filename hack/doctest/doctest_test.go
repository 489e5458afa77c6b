package doctest

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/coulomb/artifact-store/test/servers"
)

// documents are the files whose blocks and tables are held to the code.
var documents = []string{"README.md", "docs/OPERATOR.md", "docs/INSTALL.md", "docs/api/cli.md", "docs/api/http.md", "docs/api/storagebackend.md", "docs/api/routingpolicy.md", "CONTRIBUTING.md", "findings/README.md", damagedRunbook}

func root(t *testing.T) string {
	t.Helper()
	folder, err := servers.Root()
	if err != nil {
		t.Fatal(err)
	}
	return folder
}

func read(t *testing.T, path string) string {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(root(t), path))
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}

func blocksOf(t *testing.T, path string) []Block {
	t.Helper()
	blocks, err := Blocks(read(t, path))
	if err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	return blocks
}

func TestBlocks(t *testing.T) {
	t.Parallel()
	blocks, err := Blocks("text\n<!-- run -->\n```console\n$ one \\\n  two\nout\n$ three\n```\n\n```yaml\na: 1\n```\n")
	want := []Block{
		{Line: 3, Language: "console", Mark: "run", Text: "$ one \\\n  two\nout\n$ three\n"},
		{Line: 10, Language: "yaml", Text: "a: 1\n"},
	}
	if err != nil || !reflect.DeepEqual(blocks, want) {
		t.Fatalf("%+v, %v", blocks, err)
	}
	commands := []Command{{Text: "one \\\n  two", Output: "out\n"}, {Text: "three"}}
	if got := blocks[0].Commands(); !reflect.DeepEqual(got, commands) {
		t.Errorf("%q", got)
	}
	if _, err := Blocks("```sh\nx\n"); err == nil {
		t.Error("an open fence is taken")
	}
}

func TestPattern(t *testing.T) {
	t.Parallel()
	shown := "name   sha256:12…\n…\nend\n"
	for text, want := range map[string]bool{
		"name sha256:12ab\nend\n":                 true,
		"name     sha256:12  \nmore\nless\nend\n": true,
		"name sha256:13ab\nend\n":                 false,
		"name sha256:12ab\nend\nmore\n":           false,
		"end\n":                                   false,
	} {
		if Pattern(shown).MatchString(text) != want {
			t.Errorf("%q: want %v", text, want)
		}
	}
}

// TestMarks: whoever adds commands to a document says what becomes of them.
func TestMarks(t *testing.T) {
	t.Parallel()
	marks := []string{"run", "run eventually", "run stopped", "run followed"}
	for _, path := range documents {
		for _, block := range blocksOf(t, path) {
			if block.Language != "sh" && block.Language != "console" {
				continue
			}
			known := strings.HasPrefix(block.Mark, "not run: ")
			for _, mark := range marks {
				known = known || block.Mark == mark
			}
			if !known {
				t.Errorf("%s:%d: a block of commands without a mark that is known: %q", path, block.Line, block.Mark)
			}
		}
	}
}
