// SPDX-License-Identifier: Apache-2.0
// Stopping the world: every VP of the partition waits between two instructions while somebody works on what they share
// (a locked operation across pages, translations of other VPs, the memory map).
#include "vmm/soft/soft.h"

void soft_stop_init(struct soft_stop *s)
{
	(void)pthread_mutex_init(&s->lock, NULL); // neither fails with default attributes
	(void)pthread_cond_init(&s->changed, NULL);
}

void soft_stop_done(struct soft_stop *s)
{
	(void)pthread_cond_destroy(&s->changed); // nobody waits any more
	(void)pthread_mutex_destroy(&s->lock);
}

void soft_stop_enter(struct soft_stop *s)
{
	pthread_mutex_lock(&s->lock);
	while (atomic_load(&s->stopping))
		pthread_cond_wait(&s->changed, &s->lock);
	s->running++;
	pthread_mutex_unlock(&s->lock);
}

void soft_stop_leave(struct soft_stop *s)
{
	pthread_mutex_lock(&s->lock);
	s->running--;
	pthread_cond_broadcast(&s->changed);
	pthread_mutex_unlock(&s->lock);
}

void soft_stop_pause(struct soft_stop *s)
{
	if (!atomic_load(&s->stopping))
		return;
	soft_stop_leave(s);
	soft_stop_enter(s);
}

void soft_stop_begin(struct soft_partition *p, bool from_vp)
{
	struct soft_stop *s = &p->stop;

	pthread_mutex_lock(&s->lock);
	if (from_vp) // stopped itself, for whoever else wants to stop the world
		s->running--;
	pthread_cond_broadcast(&s->changed);
	while (atomic_load(&s->stopping))
		pthread_cond_wait(&s->changed, &s->lock);
	atomic_store(&s->stopping, true);
	for (unsigned i = 0; i < SOFT_VPS; i++)
		if (p->vps[i])
			x86_attention(p->vps[i]->cpu);
	while (s->running)
		pthread_cond_wait(&s->changed, &s->lock);
	pthread_mutex_unlock(&s->lock);
}

void soft_stop_end(struct soft_partition *p, bool from_vp)
{
	struct soft_stop *s = &p->stop;

	pthread_mutex_lock(&s->lock);
	atomic_store(&s->stopping, false);
	if (from_vp)
		s->running++;
	pthread_cond_broadcast(&s->changed);
	pthread_mutex_unlock(&s->lock);
}
