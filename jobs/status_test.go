package jobs_test

import (
	"testing"

	"github.com/jobloop/jobloop/jobs"
)

func TestStatus(t *testing.T) {
	// The numbers are what ASYNC_start_job returns, from openssl/async.h.
	tests := []struct {
		status jobs.Status
		number int
		text   string
	}{
		{jobs.StatusError, 0, "error"},
		{jobs.StatusNoJobs, 1, "no jobs"},
		{jobs.StatusPaused, 2, "paused"},
		{jobs.StatusFinished, 3, "finished"},
		{jobs.Status(4), 4, "invalid status"},
		{jobs.Status(-1), -1, "invalid status"},
	}
	for _, tt := range tests {
		if int(tt.status) != tt.number {
			t.Errorf("%v is %d, want %d", tt.status, int(tt.status), tt.number)
		}
		if got := tt.status.String(); got != tt.text {
			t.Errorf("Status(%d) reads %q, want %q", tt.number, got, tt.text)
		}
	}
}
