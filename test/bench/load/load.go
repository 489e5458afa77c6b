// Package load is what a benchmark and the program that it measures share.
package load

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
)

// Putting tells the program putmany what to do.
type Putting struct {
	Server *Server // or
	Folder string  // of a local backend
	Pool   int64   // bytes of buffers
	Puts   int     // all at once
	Size   int64   // of each object, in bytes
	Known  int     // every so manieth digest is; 0: none
}

// Server is a place on an S3 server.
type Server struct{ Endpoint, Region, Bucket, Prefix, AccessKey, SecretKey string }

// Compressible gives size bytes that are another object's nowhere, and that a
// server can make small. It takes no memory of its own.
func Compressible(object int, size int64) io.Reader {
	return io.LimitReader(&stamped{object: object}, size)
}

// stamped is one line of text again and again, and a number at the start of
// each block.
type stamped struct {
	object int
	at     int64
}

const stampedBlock = 64 << 10

var filling = bytes.Repeat([]byte("A line that comes again and again, 64 bytes of it and no others\n"), stampedBlock/64)

func (s *stamped) Read(p []byte) (int, error) {
	from := s.at % stampedBlock
	n := copy(p, filling[from:])
	if from < 32 {
		stamp := fmt.Appendf(nil, "%016x%016x", s.object, s.at/stampedBlock)
		copy(p[:n], stamp[from:])
	}
	s.at += int64(n)
	return n, nil
}

// PeakMemory is the most memory that a process ever had, in bytes: the kernel's VmHWM,
// which counts the pages of the program's file that were used.
func PeakMemory(pid int) (int64, error) { return Memory(pid, "VmHWM") }

// Memory is what the kernel says of a process in a field of its status, in bytes.
func Memory(pid int, field string) (int64, error) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(status)) {
		if text, found := strings.CutPrefix(line, field+":"); found {
			kilobytes, err := strconv.ParseInt(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(text), "kB")), 10, 64)
			return kilobytes << 10, err
		}
	}
	return 0, fmt.Errorf("the kernel does not tell %s", field)
}
