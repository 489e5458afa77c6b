package s3_test

import (
	"flag"
	"os"
	"testing"
)

// TestMain runs more tests in parallel than there are processors: most of them wait
// for a server, or for a fault to time out.
func TestMain(m *testing.M) {
	flag.Parse()
	if at := flag.Lookup("test.parallel"); at.Value.String() == at.DefValue {
		if err := flag.Set("test.parallel", "8"); err != nil {
			panic(err)
		}
	}
	os.Exit(m.Run())
}
