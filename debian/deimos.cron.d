# Once an hour: states of containers whose end has been delivered for more than a day, see deimos(8). Says nothing while all is well.
SHELL=/bin/sh
PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
17 * * * * root [ ! -x /usr/local/bin/deimos ] || /usr/local/bin/deimos state --rm --older-than 24h
