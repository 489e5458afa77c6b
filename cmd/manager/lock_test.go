package main

import (
	"strings"
	"testing"
)

func TestOneManagerToADataFolder(t *testing.T) {
	t.Parallel()
	o := options{dataDir: t.TempDir(), database: "sqlite:///anywhere"}
	unlock, err := lockData(o)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := lockData(o); err == nil || !strings.Contains(err.Error(), "--data-dir: another manager serves") {
		t.Errorf("a second manager got %v", err)
	}
	shared := o
	shared.database = "postgres://somewhere"
	if _, err := lockData(shared); err != nil {
		t.Errorf("a replica on PostgreSQL was refused: %v", err)
	}
	unlock()
	again, err := lockData(o)
	if err != nil {
		t.Fatalf("after the first has ended: %v", err)
	}
	again()
}
