package layers

import "bytes"

// A folder that outgrows these has a second subject. They count the folder's
// own lines and files, without tests; 15 files is the aim, and 16 the limit.
const (
	maxFiles = 16
	maxLines = 2500
)

// large lists the folders that may be larger, and why.
var large = map[string]string{
	"pkg/storage/s3":            "its files are the methods of one type, which no cut takes apart",
	"cmd/artifactstore":         "it has a file for each verb",
	"pkg/registry/registrytest": "it is a suite, with a case for each line of the contract",
}

// size of a folder.
type size struct{ files, lines int }

func (s size) tooLarge() bool { return s.files > maxFiles || s.lines > maxLines }

// count adds a file to its folder.
func (c *checker) count(pkg string, source []byte) {
	s := c.sizes[pkg]
	c.sizes[pkg] = size{s.files + 1, s.lines + bytes.Count(source, []byte("\n"))}
}

func (c *checker) checkSizes() {
	for pkg, s := range c.sizes {
		if _, excepted := large[pkg]; s.tooLarge() && !excepted {
			c.found("%s has %d files and %d lines, at most %d and %d are allowed: make two rooms of it", pkg, s.files, s.lines, maxFiles, maxLines)
		}
	}
}
