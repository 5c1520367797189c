// A step of several generations at once: who can't take part fails alone, all others go through the model together.
using System;
using System.Collections.Generic;

namespace Gptq
{
    internal sealed class JointStep : IDisposable
    {
        private struct Member
        {
            public Generation Generation;
            public Handle.AloneUse Use;
            public CancelScope Scope;
        }

        private readonly List<Member> members;

        private JointStep(int most)
        {
            members = new List<Member>(most);
        }

        // A list of one's own, without null.
        public static List<Generation> Listed(IEnumerable<Generation> generations)
        {
            if (generations == null) throw new GptqException(ErrorCode.InvalidArgument, "generations is null");
            var listed = new List<Generation>(generations);
            int missing = listed.IndexOf(null);
            if (missing >= 0) throw new GptqException(ErrorCode.InvalidArgument, "generations[" + missing + "] is null");
            return listed;
        }

        // Whether one of them has a chunk.
        public static bool Run(List<Generation> generations)
        {
            RequireApart(generations);
            using (var step = new JointStep(generations.Count))
            {
                foreach (Generation generation in generations)
                    if (!generation.Ended) step.Enter(generation);
                return step.members.Count > 0 && step.Take();
            }
        }

        private static void RequireApart(List<Generation> generations)
        {
            var seen = new Dictionary<Session, int>();
            for (int i = 0; i < generations.Count; ++i)
            {
                int first;
                if (generations[i].Ended) continue;
                if (seen.TryGetValue(generations[i].Session, out first))
                    throw new GptqException(ErrorCode.InvalidArgument, "generations[" + first + "] and [" + i +
                                            "] are of one session, wanted a session of its own for each");
                seen.Add(generations[i].Session, i);
            }
        }

        // Waits for nobody, so that any order will do.
        private void Enter(Generation generation)
        {
            var member = new Member { Generation = generation };
            try
            {
                member.Use = generation.Session.EnterStep(generation.Number);
            }
            catch (GptqException closedOrBusy)
            {
                generation.Fail(closedOrBusy);
                return;
            }
            try
            {
                member.Scope = new CancelScope(generation.Session, generation.Token);
                members.Add(member);
            }
            catch (Exception error)  // a token whose source is gone
            {
                member.Use.Dispose();
                generation.Fail(error);
            }
        }

        private bool Take()
        {
            var sessions = new IntPtr[members.Count];
            for (int i = 0; i < sessions.Length; ++i) sessions[i] = members[i].Use.Pointer;
            var statuses = new int[sessions.Length];
            GptqException.Check(GptqApi.gptq_session_step_all(sessions, sessions.Length, statuses));
            bool any = false;
            for (int i = 0; i < sessions.Length; ++i) any |= Settle(members[i], statuses[i]);
            return any;
        }

        private static bool Settle(Member member, int status)
        {
            if (status < 0)
            {
                string message = GptqApi.gptq_session_error_message(member.Use.Pointer);
                member.Generation.Fail(member.Scope.Failure(status, message));
                return false;
            }
            Chunk chunk;
            bool more = Session.TakeChunk(status, member.Use.Pointer, out chunk);
            return member.Generation.Take(more, chunk);
        }

        public void Dispose()
        {
            foreach (Member member in members)
            {
                member.Scope.Dispose();
                member.Use.Dispose();
            }
        }
    }
}
