//! The store on each of its places: the same cases for all, then what is special about one.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test fails by panicking, and so do its helpers; figures are for whoever looks"
)]

mod background;
mod conversations;
mod files;
mod outages;
mod responses;
mod sweeps;
mod world;

/// Runs each case on a SQLite file, in memory, and on a real Postgres server.
macro_rules! everywhere {
    ($($room:ident: $($case:ident),+;)+) => {
        everywhere!(@place sqlite $($room: $($case),+;)+);
        everywhere!(@place memory $($room: $($case),+;)+);
        everywhere!(@place postgres $($room: $($case),+;)+);
    };
    (@place $place:ident $($room:ident: $($case:ident),+;)+) => {
        mod $place {
            $($(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $case() {
                    if let Some(world) = super::world::World::$place() {
                        super::$room::$case(&world).await;
                        world.close().await;
                    }
                }
            )+)+
        }
    };
}

everywhere! {
    responses:
        a_saved_response_reads_back_byte_for_byte,
        an_id_is_taken_once,
        others_responses_look_unknown,
        a_chain_is_read_from_its_beginning,
        forks_and_forks_of_forks_keep_their_own_beginnings,
        two_that_fork_at_once_both_keep_their_history,
        what_continues_the_unknown_has_no_history,
        a_deleted_response_takes_the_history_of_its_followers,
        a_place_is_not_given_out_twice,
        five_hundred_turns_read_fast,
        single_turns_come_by_their_ids,
        a_save_that_nobody_waits_for_is_whole_or_absent,
        many_saves_at_once_all_last,
        odd_ids_are_just_unknown;
    conversations:
        a_conversation_lives_and_dies,
        others_conversations_look_unknown,
        items_page_both_ways,
        an_unknown_cursor_is_told,
        items_are_added_all_or_none,
        those_who_append_at_once_come_one_behind_the_other,
        a_response_adds_to_its_conversation,
        a_deleted_item_is_gone_alone;
    background:
        work_goes_from_the_queue_to_its_end,
        the_oldest_comes_first,
        two_workers_share_the_work,
        only_the_holder_writes,
        a_lost_lease_fails_once,
        one_of_two_ends_wins,
        cancelling_waits_for_nobody,
        a_deleted_response_is_not_worked_on,
        events_keep_their_order,
        news_reach_all_who_listen,
        a_failed_end_leaves_nothing;
    sweeps:
        the_old_go_and_the_living_stay,
        a_living_fork_keeps_the_beginning_that_it_shares,
        the_oldest_go_until_the_rest_fits,
        work_is_never_swept,
        a_long_chain_goes_bit_by_bit,
        without_limits_nothing_goes;
}
