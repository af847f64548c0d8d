#!/bin/bash
seq 3 | tac | paste -sd, > /tmp/job
