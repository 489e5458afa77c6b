// Package strace reads what strace(1) recorded of a program and replays it on the model
// of a disk.
package strace

import (
	"bufio"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// calls that are recorded: all that change files or names, or make another way to do so.
// Those that Replay does not know stop it if they concern the folder.
const calls = "open,openat,openat2,creat,close,dup,dup2,dup3,lseek,write,pwrite64,writev,pwritev,pwritev2," +
	"fsync,fdatasync,rename,renameat,renameat2,link,linkat,symlink,symlinkat,unlink,unlinkat,rmdir,mkdir,mkdirat,mknod,mknodat," +
	"truncate,ftruncate,fallocate,sendfile,splice,vmsplice,copy_file_range,mmap,io_uring_setup,io_setup"

// Args of strace, before the program and its arguments: the program is then a child of the
// caller as it would be without strace, and what it calls is written to a file.
func Args(output string) []string {
	return []string{"--daemonize", "--follow-forks", "--seccomp-bpf", "--decode-fds=path", "--strings-in-hex=all", "--string-limit=16777216",
		"--quiet=all", "--signal=none", "--trace=" + calls, "--output=" + output}
}

// Call is a system call.
type Call struct {
	Name string
	// Args as strace writes them, but that a string stands for itself, without quotes and
	// in binary; of an array of strings all of them together, and of a struct the fields
	// without its commas.
	Args []string
	// Result is -1 if it failed, and then Error is the name of the error. A call that never
	// returned has neither: it may have had its effect or not.
	Result   int64
	Error    string
	Returned bool
	// Path of the file that the result is a descriptor of.
	Path string
}

// Event is the beginning or the end of a call.
type Event struct {
	*Call
	End bool
}

// Read reads what strace wrote with Args. The order of events is that in which strace
// stopped the program: a call has its effect between its two events.
func Read(from io.Reader) ([]Event, error) {
	var events []Event
	running := map[string]*Call{} // by thread
	lines := bufio.NewReaderSize(from, 1<<20)
	for number := 1; ; number++ {
		line, err := lines.ReadString('\n')
		if errors.Is(err, io.EOF) && line == "" {
			return events, nil
		}
		if err == nil {
			events, err = readLine(events, running, strings.TrimSuffix(line, "\n"))
		}
		if err != nil {
			return nil, fmt.Errorf("line %d of strace's output, %.100q … %q: %w", number, line, line[max(0, len(line)-100):], err)
		}
	}
}

const (
	unfinished = " <unfinished ...>"
	detached   = " <detached ...>" // it was killed, and this never ends
	resumed    = " resumed>"
)

func readLine(events []Event, running map[string]*Call, line string) ([]Event, error) {
	thread, rest, _ := strings.Cut(line, " ")
	rest = strings.TrimLeft(rest, " ")
	if again, is := strings.CutPrefix(rest, "<... "); is {
		call := running[thread]
		name, end, found := strings.Cut(again, resumed)
		if call == nil || !found || call.Name != name {
			return nil, errors.New("the end of a call that has not begun")
		}
		delete(running, thread)
		_, err := call.end(end)
		return append(events, Event{call, true}), err
	}
	name, rest, found := strings.Cut(rest, "(")
	if !found {
		return nil, errors.New("not a call")
	}
	call := &Call{Name: strings.Clone(name)} // a piece of the line would keep all of it
	args, interrupted := strings.CutSuffix(rest, unfinished)
	if !interrupted {
		args, interrupted = strings.CutSuffix(rest, detached)
	}
	var err error
	if interrupted {
		running[thread] = call
	} else if args, err = call.end(rest); err != nil {
		return nil, err
	}
	if call.Args, err = split(args); err != nil {
		return nil, err
	}
	events = append(events, Event{call, false})
	if !interrupted {
		events = append(events, Event{call, true})
	}
	return events, nil
}

// end reads ") = 3</path>", ") = -1 ENOENT (…)" or ") = ?" at the end of a line, and returns what is before it.
func (c *Call) end(text string) (args string, err error) {
	at := strings.LastIndex(text, " = ")
	if at < 0 {
		return "", errors.New("no result")
	}
	args, closed := strings.CutSuffix(strings.TrimRight(text[:at], " "), ")")
	if !closed {
		return "", errors.New("no result")
	}
	result, about, _ := strings.Cut(text[at+len(" = "):], " ")
	if result == "?" { // the program ended in it, or it begins again after a signal
		return args, nil
	}
	result, path, opened := strings.Cut(result, "<")
	if opened {
		path, _, _ = strings.Cut(path, ">") // after it may be: (deleted)
		if c.Path, err = decode(path); err != nil {
			return "", err
		}
	}
	c.Returned = true
	if c.Result, err = strconv.ParseInt(result, 0, 64); err != nil {
		return "", err
	}
	if c.Result == -1 {
		name, _, _ := strings.Cut(about, " ")
		c.Error = strings.Clone(name)
	}
	return args, nil
}

// split takes arguments apart at the commas outside brackets, and decodes their strings.
func split(text string) (args []string, err error) {
	var arg strings.Builder
	depth, structure := 0, false
	for len(text) > 0 {
		at := strings.IndexAny(text, `"<,[]{}`)
		if at < 0 {
			break
		}
		plain := text[:at]
		c := text[at]
		text = text[at+1:]
		if depth == 0 || depth == 1 && structure {
			arg.WriteString(plain)
		}
		if depth == 0 {
			structure = c == '{'
		}
		switch c {
		case '"':
			content, after, found := strings.Cut(text, `"`)
			if !found || strings.HasPrefix(after, "...") {
				return nil, errors.New("a string is cut off")
			}
			if content, err = decode(content); err != nil {
				return nil, err
			}
			arg.WriteString(content)
			text = after
		case '<':
			content, after, found := strings.Cut(text, ">")
			if !found {
				return nil, errors.New("a path is cut off")
			}
			if content, err = decode(content); err != nil {
				return nil, err
			}
			arg.WriteString("<" + content + ">")
			text = after
		case ',':
			if depth == 0 {
				args = append(args, arg.String())
				arg.Reset()
				text = strings.TrimPrefix(text, " ")
			}
		case '[', '{':
			depth++
		default:
			depth--
		}
	}
	arg.WriteString(text)
	return append(args, arg.String()), nil
}

// decode reads what is written in hex; strace does not write all of it so, as socket:[7].
func decode(text string) (string, error) {
	if !strings.HasPrefix(text, `\x`) {
		return strings.Clone(text), nil
	}
	data, err := hex.DecodeString(strings.ReplaceAll(text, `\x`, ""))
	return string(data), err
}
