// Package servers starts the real servers that tests run against: PostgreSQL,
// three kinds of S3 server, the registry that benchmarks compare with, and (as a
// folder of programs) a Kubernetes control plane.
//
// Each is started at its first use, once for each test process, listens on
// loopback or a Unix socket only, and ends with that process however it ends,
// with its temporary folder.
package servers

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
)

// spawner starts commands from one OS thread that lives as long as the
// process: Pdeathsig is sent when the thread ends that started the child, and
// Go ends threads when it likes.
var spawner = sync.OnceValue(func() chan<- func() {
	work := make(chan func())
	go func() {
		runtime.LockOSThread()
		for start := range work {
			start()
		}
	}()
	return work
})

func start(command *exec.Cmd) error {
	result := make(chan error)
	spawner() <- func() { result <- command.Start() }
	return <-result
}

// keeper holds the write ends of the watchdogs' pipes: closed by the kernel when the process is gone.
var keeper struct {
	sync.Mutex
	pipes []*os.File
}

// watchdog ends a server and removes its folder once this process is gone,
// even by SIGKILL, which leaves no time to clean up. A zombie is gone: in a
// container there may be nobody who reaps it.
const watchdog = `read -r _ # until the pipe ends
gone() { ! kill -0 "$1" 2>/dev/null || grep -q "^State:.Z" "/proc/$1/status" 2>/dev/null; }
kill -s "$1" "$2" 2>/dev/null
n=0
while ! gone "$2"; do
	n=$((n + 1))
	[ $n -lt 100 ] || kill -KILL "$2" 2>/dev/null
	sleep 0.05
done
rm -rf -- "$3"`

// serve starts a server that belongs to this process. When the process ends the server gets the
// signal, and folder is removed. Its output goes to the file log in folder.
func serve(command *exec.Cmd, onExit syscall.Signal, folder string) (exited <-chan struct{}, err error) {
	exited, err = launch(command, onExit, filepath.Join(folder, "log"))
	if err != nil {
		return nil, err
	}
	return exited, watch(onExit, command.Process.Pid, folder)
}

// launch starts a server that gets the signal when this process ends; its
// folder is the caller's to have removed. Its output goes to the file.
func launch(command *exec.Cmd, onExit syscall.Signal, output string) (exited <-chan struct{}, err error) {
	log, err := os.Create(output)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	command.Stdout, command.Stderr = log, log
	command.Env = append(command.Environ(), seldom)
	if command.SysProcAttr == nil {
		command.SysProcAttr = &syscall.SysProcAttr{}
	}
	command.SysProcAttr.Pdeathsig = onExit
	command.SysProcAttr.Setpgid = true // Ctrl-C is for the tests; the server goes after them
	if err := start(command); err != nil {
		return nil, err
	}
	done := make(chan struct{})
	go func() {
		_ = command.Wait() // reaped at once, so that its number is free only when it is gone
		close(done)
	}()
	return done, nil
}

// seldom has servers that are written in Go look for garbage less often than
// they do by default, where there is memory for it: tests make them work.
const seldom = "GOGC=400"

func watch(onExit syscall.Signal, pid int, folder string) error {
	return keepPipeOf(exec.Command("/bin/sh", "-c", watchdog, "watchdog", strconv.Itoa(int(onExit)), strconv.Itoa(pid), folder))
}

// keepPipeOf starts a watchdog: its standard input ends when this process does.
func keepPipeOf(dog *exec.Cmd) error {
	read, write, err := os.Pipe()
	if err != nil {
		return err
	}
	defer read.Close()
	dog.Stdin = read
	dog.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := start(dog); err != nil {
		return err
	}
	keeper.Lock()
	defer keeper.Unlock()
	keeper.pipes = append(keeper.pipes, write) // also keeps the finalizer from closing it
	return nil
}

// toolFolder asks the script that builds the tools where they are, and checks that the programs are there.
func toolFolder(name string, programs ...string) (string, error) {
	top, err := Root()
	if err != nil {
		return "", err
	}
	command := exec.Command(filepath.Join(top, "hack", "build-tools.sh"), "--path", name)
	output, err := command.Output()
	folder := strings.TrimSpace(string(output))
	if err != nil || folder == "" {
		return "", fmt.Errorf("%s is missing: run make tools", name)
	}
	for _, program := range programs {
		if _, err := os.Stat(filepath.Join(folder, program)); err != nil {
			return "", fmt.Errorf("%s is missing: run make tools", filepath.Join(folder, program))
		}
	}
	return folder, nil
}

// tail is the end of a server's log, for messages.
func tail(folder string) string { return tailOf(filepath.Join(folder, "log")) }

func tailOf(file string) string {
	data, _ := os.ReadFile(file)
	return strings.TrimSpace(string(data[max(0, len(data)-2000):]))
}

// shared is a server of which there is one in a process.
type shared[T any] struct {
	once  sync.Once
	value T
	err   error
}

func (s *shared[T]) get(tb testing.TB, start func() (T, error)) T {
	tb.Helper()
	s.once.Do(func() { s.value, s.err = start() })
	if s.err != nil {
		tb.Fatal(s.err)
	}
	return s.value
}
