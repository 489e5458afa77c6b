package servers

import (
	"bufio"
	"bytes"
	"context"
	"database/sql"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestPostgres(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		options []PostgresOption
		fsync   string
	}{"fast": {nil, "off"}, "durable": {[]PostgresOption{Durable()}, "on"}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			first, second := Postgres(t, test.options...), Postgres(t, test.options...)
			if first == second {
				t.Fatalf("two tests share the database %s", first)
			}
			db, err := sql.Open("pgx", first)
			if err != nil {
				t.Fatal(err)
			}
			defer db.Close()
			var fsync string
			if err := db.QueryRow("SHOW fsync").Scan(&fsync); err != nil {
				t.Fatal(err)
			}
			if fsync != test.fsync {
				t.Errorf("fsync is %s, expected %s", fsync, test.fsync)
			}
		})
	}
}

func TestControlPlaneAssets(t *testing.T) {
	t.Parallel()
	folder := ControlPlaneAssets(t)
	for _, program := range []string{"etcd", "kube-apiserver"} {
		if _, err := os.Stat(filepath.Join(folder, program)); err != nil {
			t.Error(err)
		}
	}
}

// TestMain also is the process that TestKilled kills.
func TestMain(m *testing.M) {
	if os.Getenv("SERVERS_TEST_VICTIM") == "" {
		os.Exit(m.Run())
	}
	cluster, err := startPostgres(false)
	if err != nil {
		fmt.Println("error", err)
		os.Exit(1)
	}
	folders := []string{cluster.folder}
	for _, kind := range S3Kinds {
		process, err := startS3(kind, true)
		if err != nil {
			fmt.Println("error", err)
			os.Exit(1)
		}
		folders = append(folders, filepath.Dir(process.log))
	}
	fmt.Println("folders", strings.Join(folders, " "))
	select {}
}

func TestKilled(t *testing.T) {
	t.Parallel()
	victim := exec.Command(os.Args[0])
	victim.Env = append(os.Environ(), "SERVERS_TEST_VICTIM=1")
	output, err := victim.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := victim.Start(); err != nil {
		t.Fatal(err)
	}
	line, _ := bufio.NewReader(output).ReadString('\n')
	if err := victim.Process.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	_ = victim.Wait()
	folders, found := strings.CutPrefix(strings.TrimSpace(line), "folders ")
	if !found {
		t.Fatalf("the victim said %q", line)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		left := leftovers(t, strings.Fields(folders))
		if len(left) == 0 {
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("left behind: %v", left)
		}
	}
}

// leftovers lists folders that are there and processes that name one in their command line.
func leftovers(t *testing.T, folders []string) []string {
	t.Helper()
	var left []string
	lines, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil || len(lines) == 0 {
		t.Fatalf("no processes in /proc: %v", err)
	}
	for _, folder := range folders {
		if _, err := os.Stat(folder); err == nil {
			left = append(left, folder)
		}
		for _, line := range lines {
			if data, err := os.ReadFile(line); err == nil && bytes.Contains(data, []byte(folder)) {
				left = append(left, line+": "+strings.ReplaceAll(string(data), "\x00", " "))
			}
		}
	}
	return left
}

// A volume is as small as asked for, and a server starts on it.
func TestVolume(t *testing.T) {
	t.Parallel()
	if !OwnMounts(t) {
		return
	}
	volume := NewVolume(t, 64<<20)
	server := PostgresOn(t, volume.Folder, "")
	grow := func() error {
		return server.Try(t.Context(), "CREATE TABLE filled AS SELECT repeat('x', 1000) FROM generate_series(1, 100)")
	}
	volume.Fill()
	if err := grow(); err == nil || !strings.Contains(err.Error(), "No space left on device") {
		t.Errorf("on a full volume: %v", err)
	}
	volume.MakeRoom()
	if err := grow(); err != nil {
		t.Errorf("with room: %v", err)
	}
}
